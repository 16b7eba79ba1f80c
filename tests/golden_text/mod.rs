//! Texts that are as a file in tests/golden has them; `REWRITE=1` writes the file.

/// An error, with the whole text, where it is another one.
pub fn golden(name: &str, text: &str) {
    let path = format!("tests/golden/{name}");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(want == text, "{path} differs; this is what it would be:\n{text}");
}
