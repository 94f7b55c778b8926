//! The footer of a fixed VHD ("Virtual Hard Disk Image Format Specification", Microsoft, 2006): the disk's
//! bytes, and this sector behind them. All numbers are big-endian.

use uuid::Uuid;

/// Bytes of the footer.
pub const FOOTER: usize = 512;

/// The longest disk that the format describes: 2040 GiB.
pub const LONGEST: u64 = 2040 << 30;

const SECTOR: u64 = 512;

/// 2000-01-01T00:00:00Z in seconds since 1970, from which the format counts.
const YEAR_2000: u64 = 946_684_800;

/// Type of a disk whose blocks are all in the file.
const FIXED: u32 = 2;

/// The program and its version that QEMU writes where the size counts and not the geometry. Readers decide by
/// it: for programs that they do not know, QEMU computes the size from the geometry, which is less.
const CREATOR: &[u8; 4] = b"qem2";
const CREATOR_VERSION: u32 = 0x0005_0003;
const CREATOR_HOST: &[u8; 4] = b"Wi2k";

/// The footer of a disk of `size` bytes, made at `epoch` (seconds since 1970).
pub fn footer(size: u64, id: Uuid, epoch: u64) -> [u8; FOOTER] {
    let mut footer = [0; FOOTER];
    let mut position = 0;
    let mut put = |bytes: &[u8]| {
        footer[position..position + bytes.len()].copy_from_slice(bytes);
        position += bytes.len();
    };
    put(b"conectix");
    put(&2_u32.to_be_bytes()); // Features: a bit that is always set.
    put(&0x0001_0000_u32.to_be_bytes()); // Version of the format.
    put(&u64::MAX.to_be_bytes()); // No further header.
    let since_2000 = u32::try_from(epoch.saturating_sub(YEAR_2000)).unwrap_or(u32::MAX);
    put(&since_2000.to_be_bytes());
    put(CREATOR);
    put(&CREATOR_VERSION.to_be_bytes());
    put(CREATOR_HOST);
    put(&size.to_be_bytes()); // When it was created.
    put(&size.to_be_bytes()); // Now: the one that counts.
    let (cylinders, heads, sectors) = geometry(size / SECTOR);
    put(&cylinders.to_be_bytes());
    put(&[heads, sectors]);
    put(&FIXED.to_be_bytes());
    put(&[0; 4]); // The checksum, computed with zeros in its place.
    put(id.as_bytes());
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

/// Cylinders, heads and sectors of a track, as the specification's appendix computes them.
fn geometry(sectors: u64) -> (u16, u8, u8) {
    const MOST: u64 = 65_535 * 16 * 255;
    let sectors = sectors.min(MOST);
    if sectors >= 65_535 * 16 * 63 {
        return ((sectors / 255 / 16) as u16, 16, 255);
    }
    let tracks = sectors / 17;
    let heads = tracks.div_ceil(1024).max(4);
    if heads <= 16 && tracks < heads * 1024 {
        return ((tracks / heads) as u16, heads as u8, 17);
    }
    let tracks = sectors / 31;
    if tracks < 16 * 1024 {
        return ((tracks / 16) as u16, 16, 31);
    }
    ((sectors / 63 / 16) as u16, 16, 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::MIB;

    #[test]
    fn geometries_are_those_that_qemu_computes() {
        // Sizes to which `qemu-img create -f vpc -o subformat=fixed` rounds, in sectors, and their
        // geometries.
        for (sectors, expected) in [
            (2_108, (31, 4, 17)),
            (409_696, (826, 16, 31)),
            (1_032_192, (1024, 16, 63)),
            (16_384_032, (16_254, 16, 63)),
            (81_922_320, (20_079, 16, 255)),
            (409_600_000, (65_535, 16, 255)),
        ] {
            assert_eq!(geometry(sectors), expected, "{sectors} sectors");
        }
    }

    #[test]
    fn the_checksum_is_the_complement_of_the_sum_of_all_other_bytes() {
        let footer = footer(5 * MIB, Uuid::from_u128(0xabc), 1_577_836_800);
        let sum: u32 = footer[..64].iter().chain(&footer[68..]).map(|byte| u32::from(*byte)).sum();
        assert_eq!(footer[64..68], (!sum).to_be_bytes());
        assert_eq!(footer[24..28], (1_577_836_800_u32 - 946_684_800).to_be_bytes());
        assert_eq!(footer[48..56], (5 * MIB).to_be_bytes());
    }
}
