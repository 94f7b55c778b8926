//! User-data of any form, opened whole, with a server that gives it back: bounded, and nothing that is said
//! of it shows a token.
#![no_main]

use contract::public_key::PublicKey;
use firstboot::config::HostDefaults;
use firstboot::document::Document;
use firstboot::userdata::{Elsewhere, Env, Pointer, Trust, open};
use kiln_fuzz::{TOKEN, names};
use libfuzzer_sys::fuzz_target;

/// A key that signed nothing here.
const KEY: &str = "RWSX2BrGaJFTXIuGkaKaZDmJHCvWGxjiry2TYd7VKXfVKl75YB2jl5Xn";

fuzz_target!(|bytes: &[u8]| {
    let lookup = |name: &str| name.len().is_multiple_of(2).then(|| "value".to_owned());
    let fetch = |_: &Pointer| Ok(Document::read(bytes).expect("inputs are short"));
    let follow = |_: &Elsewhere| Ok(Document::new(bytes.to_vec().into()));
    let signed = Trust::SignedBy(vec![PublicKey::parse(KEY).expect("it is a key")]);
    let env = Env { trust: &signed, names: &names, lookup: &lookup, fetch: &fetch, follow: &follow };
    let strict = open(bytes, None, &env);
    assert!(
        strict.is_err() || strict.is_ok_and(|opened| !opened.has_config()),
        "unsigned content was accepted"
    );
    match open(bytes, None, &Env { trust: &Trust::Any, ..env }) {
        Ok(mut opened) => {
            assert!(!format!("{:?}", (&opened.documents, &opened.files, &opened.notices)).contains(TOKEN));
            if let Err(failure) = opened.node_config(&HostDefaults { hostname: "node".to_owned() }) {
                assert!(!failure.message.is_empty() && !format!("{failure:?}").contains(TOKEN));
            }
        }
        Err(failure) => assert!(!failure.message.is_empty() && !format!("{failure:?}").contains(TOKEN)),
    }
});
