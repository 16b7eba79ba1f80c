//! Names of devices, as far as a configuration can judge them: which of them are on one logical unit.

/// A device's name without its partition's number, and whether it had one: `lun:0-part1`, `/dev/disk/by-id/NAME-part1` (and
/// any other name that ends in `-partN`), `/dev/sda1`. A reservation is the whole unit's.
pub fn lun_of(name: &str) -> (&str, bool) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((unit, number)) = name.rsplit_once("-part")
        && is_number(number)
    {
        return (unit, true);
    }
    let unit = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let letters = unit.strip_prefix("/dev/sd").unwrap_or_default();
    let partition = unit.len() < name.len() && !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_lowercase());
    if partition { (unit, true) } else { (name, false) }
}

/// Do two names say that they are on one logical unit? Other names may hide that they are.
pub fn same_lun(one: &str, other: &str) -> bool {
    lun_of(one).0 == lun_of(other).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_from_whole_disks() {
        for (name, unit) in [
            ("lun:0-part1", "lun:0"),
            ("/dev/sda1", "/dev/sda"),
            ("/dev/sdab12", "/dev/sdab"),
            ("/dev/disk/by-id/scsi-3600-part2", "/dev/disk/by-id/scsi-3600"),
            ("/dev/mapper/data-part1", "/dev/mapper/data"),
        ] {
            assert_eq!(lun_of(name), (unit, true), "{name}");
        }
        for name in ["lun:0", "lun:10", "/dev/sda", "/dev/sd1", "/dev/dm-1", "/dev/disk/by-id/scsi-3600", "a-part", "7"]
        {
            assert_eq!(lun_of(name), (name, false), "{name}");
        }
        assert!(same_lun("lun:0-part1", "lun:0-part2") && same_lun("/dev/sda1", "/dev/sda"));
        assert!(!same_lun("lun:0-part1", "lun:1-part2") && !same_lun("/dev/sda1", "/dev/sdb1"));
    }
}
