//! What the README shows is what the crate's documentation compiles.

/// The Rust blocks of a Markdown text.
fn blocks<'a>(text: &'a str, fence: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(fence).skip(1).map(|block| block.split("```").next().unwrap().trim().to_string())
}

#[test]
fn every_rust_block_is_a_doctest_of_the_crate() {
    let readme = include_str!("../../README.md");
    let hidden = |line: &&str| !line.starts_with("# ");
    let docs: String = include_str!("../../src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .filter(hidden)
        .flat_map(|line| [line, "\n"])
        .collect();
    let compiled: Vec<String> = blocks(&docs, "```\n").collect();
    let shown: Vec<String> = blocks(readme, "```rust\n").collect();
    assert_eq!(shown.len(), 3);
    for block in shown {
        assert!(compiled.contains(&block), "no doctest says\n{block}");
    }
}
