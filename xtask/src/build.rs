//! The static binary.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use argh::FromArgs;
use fs_err as fs;

use crate::{paths, process};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Build the static binary and print its size.
#[derive(FromArgs)]
#[argh(subcommand, name = "build")]
pub struct Build {}

impl Build {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        let binary = binary()?;
        let size = fs::metadata(&binary)?.len();
        println!("{}: {size} bytes, {:.2} MiB", binary.display(), size as f64 / f64::from(1 << 20));
        Ok(())
    }
}

/// Builds the binary for this machine, linked as this machine likes it: a static one wants a static C library, which not
/// every machine has.
pub fn plain() -> Result<PathBuf> {
    process::run(Command::new(env!("CARGO")).current_dir(paths::workspace()).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "quorate",
        "--bin",
        "quorate",
    ]))?;
    Ok(paths::target().join("release/quorate"))
}

/// What makes it static, and a fifth smaller than it would be: relocations of the position-independent binary packed, and no
/// tables for unwinding, nor the index of them (see static.ld; the linker runs in the root of the workspace). The
/// options are those of lld, rustc's own linker here.
const FLAGS: &str = "-C target-feature=+crt-static -C link-arg=-Wl,--pack-dyn-relocs=relr \
                     -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Txtask/src/static.ld";

/// The C libraries whose unneeded parts src/drv/sys/clib.rs stands in for: which of their objects a name brings in is
/// not the same in each. With another one the binary is 400 KB larger and does the same.
const SLIM: [&str; 1] = ["glibc 2.36"];

fn flags() -> String {
    let version = process::output(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let slim = if SLIM.contains(&version.trim()) { " --cfg slim_libc" } else { "" };
    format!("{FLAGS}{slim}")
}

/// Builds the static binary and says where it is.
pub fn binary() -> Result<PathBuf> {
    static_program("quorate", "quorate")
}

/// Builds the guest's tool for the lab's images and says where it is.
pub fn guest() -> Result<PathBuf> {
    static_program("quorate-guest", "guest")
}

fn static_program(package: &str, name: &str) -> Result<PathBuf> {
    // An explicit --target keeps the flags away from build scripts and from plain `cargo test`, whose
    // artifacts lie elsewhere; the same flags in .cargo/config.toml would reach those, too.
    process::run(
        Command::new(env!("CARGO"))
            .current_dir(paths::workspace())
            .args(["build", "--quiet", "--release", "--package", package])
            .args(["--bin", name, "--target", TRIPLE])
            .env("RUSTFLAGS", flags()),
    )?;
    Ok(paths::target().join(TRIPLE).join("release").join(name))
}

/// Builds one of the package's integration tests as a static program for the lab's guests, and says where it is.
pub fn static_test(name: &str) -> Result<PathBuf> {
    let said = process::output(
        Command::new(env!("CARGO"))
            .current_dir(paths::workspace())
            .args(["test", "--no-run", "--quiet", "--package", "quorate", "--test", name, "--target", TRIPLE])
            .args(["--message-format", "json"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols"),
    )?;
    let said = String::from_utf8_lossy(&said);
    let built = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = built
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.with_context(|| format!("cargo did not say where the test {name} is"))
}
