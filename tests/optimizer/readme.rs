//! The Rust blocks that the documents show are doctests of the crate.

/// The Rust blocks of a Markdown text.
fn blocks<'a>(text: &'a str, fence: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(fence).skip(1).map(|block| block.split("```").next().unwrap().trim().to_string())
}

const CRATE: &str = include_str!("../../src/lib.rs");
const TRAINER: &str = include_str!("../../src/regression/train/trainer.rs");

/// The documents that show Rust, how many blocks each of them has, and the source whose doctests they are.
const DOCUMENTS: [(&str, &str, usize, &str); 3] = [
    ("README.md", include_str!("../../README.md"), 1, CRATE),
    ("docs/embedding.md", include_str!("../../docs/embedding.md"), 3, CRATE),
    ("docs/guide.md", include_str!("../../docs/guide.md"), 1, TRAINER),
];

/// The doctests of a source file as they are shown.
fn doctests(source: &str) -> Vec<String> {
    let hidden = |line: &&str| !line.starts_with("# ");
    let docs: String = source
        .lines()
        .filter_map(|line| line.strip_prefix("//!").or_else(|| line.strip_prefix("///")))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .filter(hidden)
        .flat_map(|line| [line, "\n"])
        .collect();
    blocks(&docs, "```\n").collect()
}

#[test]
fn every_rust_block_is_a_doctest_of_the_crate() {
    for (name, text, expected, source) in DOCUMENTS {
        let compiled = doctests(source);
        let shown: Vec<String> = blocks(text, "```rust\n").collect();
        assert_eq!(shown.len(), expected, "{name}");
        for block in shown {
            assert!(compiled.contains(&block), "{name}: no doctest says\n{block}");
        }
    }
}
