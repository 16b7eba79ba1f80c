//! Debian's own kernel: fetched, unpacked, never installed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::{debian, process};

/// An unpacked kernel package.
pub struct Kernel {
    /// The uncompressed kernel.
    pub vmlinux: PathBuf,
    /// The same as it came: a program that firmware can start.
    pub bzimage: PathBuf,
    modules: PathBuf,
    index: Index,
}

/// What depmod knows, as far as load order needs it.
struct Index {
    /// Lines of modules.dep: path, then paths of what it needs.
    needs: Vec<(String, Vec<String>)>,
    /// Lines of modules.softdep: name, then names or aliases that should be there first.
    wants: Vec<(String, Vec<String>)>,
    /// Lines of modules.alias that name an algorithm: alias, module.
    aliases: Vec<(String, String)>,
    /// Paths of modules.builtin.
    builtin: Vec<String>,
}

impl Kernel {
    /// The kernel of a meta package such as linux-image-amd64.
    pub fn fetch(meta: &str) -> Result<Self> {
        debian::ensure_for_images()?;
        let tree = debian::unpack_dependency(meta, prepare)?;
        let modules = modules(&tree)?;
        let index = Index::read(&modules)?;
        let bzimage = bzimage(&tree, modules.file_name().unwrap_or_default());
        Ok(Self { vmlinux: vmlinux(&tree), bzimage, modules, index })
    }

    /// Files of the modules named and of all they need, each after what it needs.
    pub fn resolve(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let order = self.index.resolve(names)?;
        Ok(order.iter().map(|path| self.modules.join(path)).collect())
    }
}

/// Does once what every boot would otherwise wait for: the index of the modules and the unpacking of the kernel.
fn prepare(tree: &Path) -> Result<()> {
    let modules = modules(tree)?;
    let release = modules.file_name().unwrap_or_default();
    process::run(Command::new("/sbin/depmod").arg("-b").arg(tree).arg(release))?;
    unpack(&bzimage(tree, release), &vmlinux(tree))
}

fn bzimage(tree: &Path, release: &OsStr) -> PathBuf {
    let mut bzimage = tree.join("boot/vmlinuz-").into_os_string();
    bzimage.push(release);
    bzimage.into()
}

fn vmlinux(tree: &Path) -> PathBuf {
    tree.join("boot/vmlinux")
}

/// The directory of the modules of the one kernel in the tree.
fn modules(tree: &Path) -> Result<PathBuf> {
    let releases = tree.join("lib/modules");
    let release = fs::read_dir(&releases)?
        .next()
        .with_context(|| format!("{} is empty: not a kernel package", releases.display()))?;
    Ok(release?.path())
}

/// Takes the kernel proper out of a bzImage.
///
/// An emulated processor needs seconds to undo Debian's xz; QEMU boots the bare ELF file through its PVH note, and
/// the host does the unpacking once.
fn unpack(bzimage: &Path, vmlinux: &Path) -> Result<()> {
    let image = fs::read(bzimage)?;
    let payload = payload(&image).with_context(|| format!("{} is not a bzImage with a payload", bzimage.display()))?;
    let packed = tempfile::NamedTempFile::new_in(vmlinux.parent().unwrap_or(Path::new(".")))?;
    fs::write(packed.path(), payload)?;
    // The payload ends with its unpacked length, which is no xz: --single-stream stops before it.
    let elf = process::output(
        Command::new("xz").args(["--decompress", "--stdout", "--single-stream", "--format=xz"]).arg(packed.path()),
    )?;
    ensure!(elf.starts_with(b"\x7fELF"), "the payload of {} is no ELF file", bzimage.display());
    fs::write(packed.path(), elf)?;
    packed.persist(vmlinux)?;
    Ok(())
}

/// The packed kernel, by the fields of the boot protocol (Documentation/x86/boot.rst).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let field = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = usize::from(*image.get(0x1f1)?);
    let start = (setup_sectors + 1) * 512 + field(0x248)?;
    image.get(start..start + field(0x24c)?)
}

impl Index {
    fn read(modules: &Path) -> Result<Self> {
        let text = |name: &str| fs::read_to_string(modules.join(name));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let needs = text("modules.dep")?
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(path, needs)| (path.to_owned(), words(needs)))
            .collect();
        let wants = text("modules.softdep")?
            .lines()
            .filter_map(|line| line.strip_prefix("softdep ")?.split_once(" pre: "))
            .map(|(name, wants)| {
                let wants = wants.split(" post: ").next().unwrap_or_default();
                (name.to_owned(), words(wants))
            })
            .collect();
        let aliases = text("modules.alias")?
            .lines()
            .filter_map(|line| line.strip_prefix("alias ")?.split_once(' '))
            // Devices' aliases are patterns with a bus in front; nobody wants those first.
            .filter(|(alias, _)| !alias.contains([':', '*']))
            .map(|(alias, module)| (alias.to_owned(), module.to_owned()))
            .collect();
        let builtin = text("modules.builtin")?.lines().map(str::to_owned).collect();
        Ok(Self { needs, wants, aliases, builtin })
    }

    fn resolve(&self, names: &[&str]) -> Result<Vec<String>> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            if self.builtin.iter().any(|path| module_name(path) == plain(name)) {
                continue;
            }
            let path = self.path(name).with_context(|| {
                format!("the kernel package has no module `{name}`; correct the modules of the board")
            })?;
            self.visit(path, &mut seen, &mut order);
        }
        Ok(order)
    }

    fn path(&self, name: &str) -> Option<&str> {
        let found = self.needs.iter().find(|(path, _)| module_name(path) == plain(name))?;
        Some(&found.0)
    }

    /// Appends what `path` wants and needs, then `path`.
    fn visit(&self, path: &str, seen: &mut HashSet<String>, order: &mut Vec<String>) {
        if !seen.insert(path.to_owned()) {
            return;
        }
        let name = module_name(path);
        let wants = self.wants.iter().filter(|(wanting, _)| plain(wanting) == name);
        for wanted in wants.flat_map(|(_, wants)| wants) {
            if let Some(wanted) = self.provider(wanted) {
                self.visit(wanted, seen, order);
            }
        }
        if let Some((_, needs)) = self.needs.iter().find(|(other, _)| other == path) {
            // modules.dep lists the nearest first; the farthest has to be loaded first.
            for needed in needs.iter().rev() {
                self.visit(needed, seen, order);
            }
        }
        order.push(path.to_owned());
    }

    /// The module of that name, or the portable one among those that answer to it as an alias.
    fn provider(&self, wanted: &str) -> Option<&str> {
        self.path(wanted).or_else(|| {
            let generic =
                self.aliases.iter().find(|(alias, module)| alias == wanted && module.ends_with("_generic"))?;
            self.path(&generic.1)
        })
    }
}

/// `kernel/lib/crc64-rocksoft.ko.xz` is the module `crc64_rocksoft`.
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split(".ko").next().unwrap_or(file))
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// A module's bytes as finit_module takes them.
pub fn read_module(path: &Path) -> Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => process::output(Command::new("xz").arg("-dc").arg(path)),
        Some("zst") => process::output(Command::new("zstd").arg("-dcq").arg(path)),
        _ => Ok(fs::read(path)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Index {
            needs: vec![
                ("scsi/sd_mod.ko".into(), own(&["block/t10-pi.ko", "lib/crc-t10dif.ko"])),
                ("block/t10-pi.ko".into(), own(&["lib/crc-t10dif.ko"])),
                ("lib/crc-t10dif.ko".into(), own(&[])),
                ("crypto/crct10dif_generic.ko".into(), own(&[])),
                ("crypto/crct10dif_fast.ko".into(), own(&[])),
            ],
            wants: vec![("crc_t10dif".into(), own(&["crct10dif"]))],
            aliases: vec![
                ("crct10dif".into(), "crct10dif_fast".into()),
                ("crct10dif".into(), "crct10dif_generic".into()),
            ],
            builtin: own(&["kernel/fs/configfs/configfs.ko"]),
        }
    }

    #[test]
    fn each_module_comes_after_what_it_needs_and_once() {
        let order = index().resolve(&["sd_mod", "configfs", "t10_pi"]).unwrap();
        let names: Vec<String> = order.iter().map(|path| module_name(path)).collect();
        assert_eq!(names, ["crct10dif_generic", "crc_t10dif", "t10_pi", "sd_mod"]);
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let error = index().resolve(&["sd_mode"]).unwrap_err().to_string();
        assert!(error.contains("`sd_mode`"), "{error}");
    }
}
