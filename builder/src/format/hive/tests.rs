use super::cells::seal;
use super::*;
use crate::error::{Error, ErrorKind};

const EPOCH: u64 = 1_577_836_800;

/// A hive with a service and a few other keys.
fn sample() -> Hive {
    let mut hive = Hive::new("ROOT", EPOCH);
    hive.set("Select", "Current", &Value::Dword(1)).unwrap();
    hive.set(r"ControlSet001\Services\kubelet", "ImagePath", &Value::ExpandString("%SystemDrive%\\k".into()))
        .unwrap();
    hive
}

fn read(bytes: &[u8]) -> Result<Hive> {
    Hive::read(bytes.to_vec(), EPOCH)
}

/// `bytes` with a base block whose checksum is right.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    seal(&mut bytes);
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Where the first cell that begins with `sign` has its content.
fn cell(bytes: &[u8], sign: &[u8]) -> usize {
    4096 + bytes[4096..].windows(sign.len()).position(|window| window == sign).unwrap()
}

#[test]
fn values_of_every_type_are_read_as_they_were_written() {
    let values = [
        ("text", Value::String("C:\\k\\kubelet.exe ä €".into())),
        ("empty text", Value::String(String::new())),
        ("path", Value::ExpandString("%SystemRoot%\\x".into())),
        ("short", Value::Binary(vec![1, 2, 3])),
        ("nothing", Value::Binary(Vec::new())),
        ("one segment", Value::Binary(vec![5; 16344])),
        ("long", Value::Binary((0..70_000_u32).map(|byte| byte as u8).collect())),
        ("number", Value::Dword(0xffff_fffe)),
        ("list", Value::MultiString(vec!["RpcSs".into(), "Tcpip".into()])),
        ("empty list", Value::MultiString(Vec::new())),
        ("large number", Value::Qword(u64::MAX - 1)),
        ("of another type", Value::Other(0, vec![1, 2])),
        ("", Value::String("the default value".into())),
        ("name with ü", Value::Dword(1)),
    ];
    let mut hive = sample();
    for (name, value) in &values {
        hive.set(r"Software\Kiln", name, value).unwrap();
    }
    let hive = read(&hive.into_bytes()).unwrap();
    for (name, value) in &values {
        assert_eq!(hive.value(r"software\KILN", name).unwrap().as_ref(), Some(value), "{name}");
    }
    assert_eq!(hive.values(r"Software\Kiln").unwrap().len(), values.len());
    assert_eq!(hive.value(r"Software\Kiln", "absent").unwrap(), None);
    assert_eq!(hive.value(r"Software\Absent", "text").unwrap(), None);
}

#[test]
fn a_value_that_is_replaced_leaves_nothing_of_itself() {
    let mut hive = sample();
    for length in [0, 3, 40, 20_000, 4, 100_000, 2] {
        hive.set("Key", "Value", &Value::Binary(vec![0xab; length])).unwrap();
    }
    hive.set("Key", "VALUE", &Value::Dword(7)).unwrap();
    let bytes = hive.into_bytes();
    assert!(!bytes.windows(2).any(|window| window == [0xab; 2]));
    let hive = read(&bytes).unwrap();
    assert_eq!(hive.values("Key").unwrap(), [("Value".to_owned(), Value::Dword(7))]);
}

#[test]
fn a_removed_value_is_gone_and_the_others_stay() {
    let mut hive = sample();
    for name in ["a", "b", "c"] {
        hive.set("Key", name, &Value::String(name.repeat(50))).unwrap();
    }
    for (gone, left) in [("b", 2), ("absent", 2), ("a", 1), ("c", 0)] {
        hive.remove_value("Key", gone).unwrap();
        assert_eq!(hive.values("Key").unwrap().len(), left);
    }
    hive.remove_value("No such key", "a").unwrap();
    assert_eq!(read(&hive.into_bytes()).unwrap().values("Key").unwrap(), []);
}

#[test]
fn keys_are_in_order_and_more_than_a_list_holds_are_found() {
    let mut hive = Hive::new("ROOT", EPOCH);
    for number in (0..1300).rev() {
        let name = if number % 2 == 0 { format!("Key{number:04}") } else { format!("key{number:04}") };
        hive.create_key(&format!("Many\\{name}")).unwrap();
    }
    let hive = read(&hive.into_bytes()).unwrap();
    let names = hive.subkeys("Many").unwrap().unwrap();
    assert_eq!(names.len(), 1300);
    assert!(names.is_sorted_by_key(|name| name.to_uppercase()));
    assert!(hive.find(r"Many\KEY1299").unwrap().is_some() && hive.find(r"Many\KEY1300").unwrap().is_none());
}

#[test]
fn the_same_edits_give_the_same_bytes_and_touch_nothing_else() {
    let before = sample().into_bytes();
    let edit = || {
        let mut hive = read(&before).unwrap();
        hive.set(r"ControlSet001\Services\kubelet", "Start", &Value::Dword(2)).unwrap();
        hive.into_bytes()
    };
    let after = edit();
    assert_eq!(after, edit());
    let root = cell(&before, b"nk");
    assert_eq!(after[root..root + 80], before[root..root + 80]);
    let unedited = read(&before).unwrap().into_bytes();
    assert_eq!(unedited, before);
}

#[test]
fn bytes_behind_the_bins_are_dropped() {
    let bytes = sample().into_bytes();
    let longer = [bytes.as_slice(), &[0x55; 8192]].concat();
    assert_eq!(read(&longer).unwrap().into_bytes(), bytes);
}

#[test]
fn names_that_cannot_be_are_refused() {
    let mut hive = sample();
    for (path, name) in [
        ("a".repeat(256), "x".to_owned()),
        ("a\0b".to_owned(), "x".to_owned()),
        ("a".to_owned(), "x\0".to_owned()),
        ("a".to_owned(), "x".repeat(16384)),
    ] {
        let error = hive.set(&path, &name, &Value::Dword(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Definition, "{error}");
    }
}

/// Does with a hive what a bake does.
fn use_up(bytes: &[u8]) -> Result<()> {
    let mut hive = read(bytes)?;
    hive.value("Select", "Current")?;
    hive.values(r"ControlSet001\Services\kubelet")?;
    hive.subkeys("")?;
    let _ = walked(&hive);
    hive.set(r"ControlSet001\Services\kubelet", "ImagePath", &Value::String("x".into()))?;
    hive.create_key("New")?;
    read(&hive.into_bytes()).map(drop)
}

#[test]
fn what_is_broken_is_refused_by_name() {
    let good = sample().into_bytes();
    use_up(&good).unwrap();
    type Fault = fn(&mut Vec<u8>);
    let unsealed: &[(&str, Fault)] = &[
        ("is empty", |bytes| bytes.clear()),
        ("regf", |bytes| bytes[0] = b'R'),
        ("4095 bytes cannot be one", |bytes| bytes.truncate(4095)),
        ("checksum", |bytes| bytes[100] ^= 1),
        ("dirty", |bytes| bytes[4] = 2),
    ];
    let of_block: &[(&str, Fault)] = &[
        ("dirty", |bytes| put(bytes, 8, 7)),
        ("version is 2.5", |bytes| put(bytes, 20, 2)),
        ("version is 1.2", |bytes| put(bytes, 24, 2)),
        ("not a primary file", |bytes| put(bytes, 28, 1)),
        ("not a primary file", |bytes| put(bytes, 32, 2)),
        ("bins have 0 bytes", |bytes| put(bytes, 40, 0)),
        ("bins have 4097 bytes", |bytes| put(bytes, 40, 4097)),
        ("bins have 1073741824 bytes", |bytes| put(bytes, 40, 1 << 30)),
        ("no cell begins at 0xffffffff", |bytes| put(bytes, 36, u32::MAX)),
        ("no cell begins at 0x22", |bytes| put(bytes, 36, 0x22)),
        ("holds no key", |bytes| {
            let security = cell(bytes, b"sk\0\0") - 4 - 4096;
            put(bytes, 36, security as u32);
        }),
    ];
    let of_cells: &[(&str, Fault)] = &[
        ("no bin at 0x0", |bytes| bytes[4096] = b'x'),
        ("no bin at 0x0", |bytes| put(bytes, 4100, 4096)),
        ("has 0 bytes", |bytes| put(bytes, 4104, 0)),
        ("has 33554432 bytes", |bytes| put(bytes, 4104, 32 << 20)),
        ("has 0 bytes", |bytes| put(bytes, 4128, 0)),
        ("has 12 bytes", |bytes| put(bytes, 4128, 12_u32.wrapping_neg())),
        ("has 2147483648 bytes", |bytes| put(bytes, 4128, 1 << 31)),
        ("holds no key", |bytes| {
            let key = cell(bytes, b"nk");
            bytes[key + 72..key + 74].fill(0xff);
        }),
        ("4294967295 subkeys", |bytes| {
            let key = cell(bytes, b"nk");
            put(bytes, key + 20, u32::MAX);
        }),
        ("another number", |bytes| {
            let key = cell(bytes, b"nk");
            put(bytes, key + 20, 1);
        }),
        ("no cell begins at 0x10", |bytes| {
            let key = cell(bytes, b"nk");
            put(bytes, key + 28, 0x10);
        }),
        ("holds no list of keys", |bytes| {
            let key = cell(bytes, b"nk");
            let own = u32::try_from(key - 4 - 4096).unwrap();
            put(bytes, key + 28, own);
        }),
        ("a list of keys is short", |bytes| {
            let list = cell(bytes, b"lh");
            bytes[list + 2..list + 4].fill(0xff);
        }),
        ("a list of keys is short", |bytes| {
            let list = cell(bytes, b"lh");
            bytes[list..list + 4].copy_from_slice(b"ri\xff\xff");
        }),
        ("list of values of the key Select is short", |bytes| {
            let key = cell(bytes, b"Select") - 76;
            put(bytes, key + 36, u32::MAX);
        }),
        ("holds no value", |bytes| {
            let value = cell(bytes, b"Current") - 20;
            bytes[value] = b'x';
        }),
        ("data of the value Current are short", |bytes| {
            let value = cell(bytes, b"Current") - 20;
            put(bytes, value + 4, (1 << 31) | 5);
        }),
        ("data of the value Current are short", |bytes| {
            let value = cell(bytes, b"Current") - 20;
            let own = u32::try_from(value - 4 - 4096).unwrap();
            put(bytes, value + 4, 4000);
            put(bytes, value + 8, own);
        }),
        ("longer than the file", |bytes| {
            let value = cell(bytes, b"ImagePath") - 20;
            put(bytes, value + 4, 1 << 30);
        }),
        ("is a link", |bytes| {
            let key = cell(bytes, b"Select") - 76;
            bytes[key + 2] |= 0x10;
        }),
        ("has no security descriptor", |bytes| {
            let security = cell(bytes, b"sk\0\0");
            bytes[security] = b'x';
        }),
        ("no cell begins at", |bytes| {
            // The value's data are the value itself: they can be freed once.
            let value = cell(bytes, b"ImagePath") - 20;
            let own = u32::try_from(value - 4 - 4096).unwrap();
            put(bytes, value + 4, 8);
            put(bytes, value + 8, own);
        }),
    ];
    let unsealed = unsealed.iter().map(|case| (case, false));
    let sealed_ones = of_block.iter().chain(of_cells).map(|case| (case, true));
    for ((says, fault), seals) in unsealed.chain(sealed_ones) {
        let mut bytes = good.clone();
        fault(&mut bytes);
        if seals {
            bytes = sealed(bytes);
        }
        let error: Error = use_up(&bytes).expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Archive, "{error}");
        assert!(error.message().contains(says), "\"{says}\" is not in: {error}");
    }
}

/// Sees everything of a hive: how many keys and values there are.
fn walked(hive: &Hive) -> Result<(usize, usize)> {
    fn below(walk: &mut Walk<'_>, branch: &Branch) -> Result<(usize, usize)> {
        let mut count = (1, walk.values(branch)?.len());
        for key in walk.subkeys(branch)?.into_values() {
            let (keys, values) = below(walk, &key)?;
            count = (count.0 + keys, count.1 + values);
        }
        Ok(count)
    }
    let mut walk = hive.walk();
    let root = walk.at("")?.expect("a hive has a root");
    below(&mut walk, &root)
}

#[test]
fn a_walk_sees_each_key_once() {
    let hive = sample();
    assert_eq!(walked(&hive).unwrap(), (5, 2));
    let good = hive.into_bytes();
    // The key Services lists its own parent.
    let mut bytes = good.clone();
    let parent = u32::try_from(cell(&bytes, b"ControlSet001") - 76 - 4 - 4096).unwrap();
    let key = cell(&bytes, b"kubelet") - 76;
    let own = u32::try_from(key - 4 - 4096).unwrap().to_le_bytes();
    let list = 4096 + bytes[4096..].windows(4).position(|window| window == own).unwrap();
    put(&mut bytes, list, parent);
    let error = walked(&read(&sealed(bytes)).unwrap()).unwrap_err();
    assert!(error.message().contains("the key ControlSet001 is in two places"), "{error}");
}

#[test]
fn no_flipped_byte_makes_it_panic_or_loop() {
    let good = sample().into_bytes();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= (at * 37 % 255) as u8 + 1;
        // Either is right; a panic is not.
        let _ = use_up(&sealed(bytes));
    }
}
