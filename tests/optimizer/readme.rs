//! The Rust blocks that the documents show are doctests of the crate.

/// The Rust blocks of a Markdown text.
fn blocks<'a>(text: &'a str, fence: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(fence).skip(1).map(|block| block.split("```").next().unwrap().trim().to_string())
}

/// The documents that show Rust, and how many blocks each of them has.
const DOCUMENTS: [(&str, &str, usize); 2] = [
    ("README.md", include_str!("../../README.md"), 1),
    ("docs/embedding.md", include_str!("../../docs/embedding.md"), 2),
];

#[test]
fn every_rust_block_is_a_doctest_of_the_crate() {
    let hidden = |line: &&str| !line.starts_with("# ");
    let docs: String = include_str!("../../src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .filter(hidden)
        .flat_map(|line| [line, "\n"])
        .collect();
    let compiled: Vec<String> = blocks(&docs, "```\n").collect();
    for (name, text, expected) in DOCUMENTS {
        let shown: Vec<String> = blocks(text, "```rust\n").collect();
        assert_eq!(shown.len(), expected, "{name}");
        for block in shown {
            assert!(compiled.contains(&block), "{name}: no doctest says\n{block}");
        }
    }
}
