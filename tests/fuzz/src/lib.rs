//! What any bytes must not be able to do to quorate.
//!
//! Each target takes bytes and panics if a property is broken; the properties are more than "no panic": nothing is
//! accepted without its tag or checksum, for another owner, or by what lies beyond its end, and what is accepted reads
//! back as it was. Bytes are the whole input or a script (`input`): a script gets past checksums and tags by making them
//! itself, with code of its own, so that a check that the product left out cannot be left out here as well.
//!
//! The same functions run over the kept corpus in `cargo test` (tests/corpus.rs) and under libFuzzer
//! (`cargo xtask fuzz`; fuzz/ has the entry points, in the layout that cargo-fuzz knows).

mod config;
mod console;
mod core;
mod driver;
mod frame;
mod image;
mod input;
mod record;
mod reply;
pub mod seeds;
mod signature;
mod target;
mod values;
mod words;

/// One thing that takes bytes.
pub struct Target {
    /// Its name: of the libFuzzer binary and of the folder of its corpus.
    pub name: &'static str,
    /// Panics if a property is broken.
    pub run: fn(&[u8]),
    /// Longer inputs show nothing new, in bytes.
    pub bytes_max: usize,
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target { name: "frame", run: frame::frame, bytes_max: 2048 },
    Target { name: "record", run: record::record, bytes_max: 1100 },
    Target { name: "image", run: image::image, bytes_max: 1024 },
    Target { name: "signature", run: signature::signature, bytes_max: 4096 },
    Target { name: "blob", run: config::blob, bytes_max: 2048 },
    Target { name: "toml", run: config::toml, bytes_max: 2048 },
    Target { name: "console", run: console::console, bytes_max: 1024 },
    Target { name: "words", run: words::words, bytes_max: 512 },
    Target { name: "reply", run: reply::reply, bytes_max: 2200 },
    Target { name: "sense", run: reply::sense, bytes_max: 600 },
    Target { name: "target", run: target::target, bytes_max: 1024 },
    Target { name: "core", run: core::core, bytes_max: 4096 },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Gives the bytes to the target of this name.
///
/// # Panics
/// If there is no such target, or a property is broken.
pub fn run(name: &str, bytes: &[u8]) {
    let target = target(name).unwrap_or_else(|| panic!("there is no target `{name}`"));
    (target.run)(&bytes[..bytes.len().min(target.bytes_max)]);
}
