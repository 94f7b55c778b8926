//! A root file system whose list of digests must be signed.

use std::fs;

use testkit::archive::{Key, TOOLS};

use crate::place::Place;

const LIST: &str = "vendor/SHA256SUMS";
const SIGNATURE: &str = "vendor/SHA256SUMS.gpg";

const BASE: &str = "rootfs = 'vendor/root.tar'\nchecksum = 'vendor/SHA256SUMS'\nkeyring = 'vendor.gpg'\n";
const DETACHED: &str = "signature = 'vendor/SHA256SUMS.gpg'\n";

/// Publishes a release, its list signed by `key` both ways: the list itself stays as it is.
fn publish(place: &Place, version: &str, key: &Key) {
    place.write_root(&place.path("vendor/root.tar"), version);
    sign(place, key);
}

fn sign(place: &Place, key: &Key) {
    let digest = kiln::digest::Digest::of(&fs::read(place.path("vendor/root.tar")).unwrap());
    fs::write(place.path(LIST), format!("{} *root.tar\n", digest.hex())).unwrap();
    key.detach_sign(&place.path(LIST), &place.path(SIGNATURE));
    key.clear_sign(&place.path(LIST), &place.path("vendor/SHA256SUMS.asc"));
}

#[test]
fn a_list_counts_only_with_the_signature_that_the_definition_asks_for() {
    let test = "a_list_counts_only_with_the_signature_that_the_definition_asks_for";
    let Some(place) = Place::new(test, TOOLS) else { return };
    let key = Key::new(&place.path("key"));
    publish(&place, "2", &key);
    fs::copy(key.keyring(), place.path("vendor.gpg")).unwrap();

    let detached = format!("{BASE}{DETACHED}");
    place.define(&detached);
    let built = place.build(&[]);
    place.define(&BASE.replace("SHA256SUMS", "SHA256SUMS.asc"));
    assert_eq!(place.build(&[]), built);

    // No signature in the list, and none beside it.
    place.define(BASE);
    place.refuse("lock x.toml", &[], 6, "no clear-signed document");
    place.define(&format!("{BASE}signature = 'vendor/root.tar'\n"));
    place.refuse("lock x.toml", &[], 6, "the signature does not count");

    place.define(&detached);
    let other = Key::new(&place.path("other"));
    sign(&place, &other);
    place.refuse("lock x.toml", &[], 6, "an unknown key made it");
    // The signature of the list as it was.
    sign(&place, &key);
    let list = fs::read_to_string(place.path(LIST)).unwrap();
    fs::write(place.path(LIST), list.replace(" *", "  ")).unwrap();
    place.refuse("lock x.toml", &[], 6, "the file is not the one that the key");
    fs::write(place.path("vendor.gpg"), "<html>").unwrap();
    place.refuse("lock x.toml", &[], 6, "vendor.gpg: the file of keys has no OpenPGP key in it");

    let expired = Key::expired(&place.path("expired"));
    sign(&place, &expired);
    fs::copy(expired.keyring(), place.path("vendor.gpg")).unwrap();
    place.refuse("lock x.toml", &[], 6, "that made it has expired");
}

#[test]
fn an_older_release_does_not_come_back_after_the_lock() {
    let test = "an_older_release_does_not_come_back_after_the_lock";
    let Some(place) = Place::new(test, TOOLS) else { return };
    let key = Key::new(&place.path("key"));
    fs::copy(key.keyring(), place.path("vendor.gpg")).unwrap();
    place.define(&format!("{BASE}{DETACHED}"));

    // The older list beside the newer file: both were signed.
    publish(&place, "1", &key);
    let older = fs::read(place.path("vendor/root.tar")).unwrap();
    place.write_root(&place.path("vendor/root.tar"), "2");
    place.refuse("build x.toml --output-dir out", &[], 6, "root.tar");
    place.forget();

    // All of the older release, with its good signature.
    sign(&place, &key);
    place.succeed("lock x.toml", &[]);
    fs::remove_dir_all(place.path("store")).unwrap();
    fs::write(place.path("vendor/root.tar"), older).unwrap();
    sign(&place, &key);
    place.refuse("build x.toml --locked --output-dir out", &[], 6, "root.tar");

    // A lock that was made with another keyring, or with none, is no lock of this definition.
    fs::copy(key.keyring(), place.path("another.gpg")).unwrap();
    place.define(&format!("{BASE}{DETACHED}").replace("vendor.gpg", "another.gpg"));
    place.refuse(
        "build x.toml --locked --output-dir out",
        &[],
        4,
        "wants a key of another.gpg to have signed",
    );
}
