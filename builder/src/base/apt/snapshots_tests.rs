//! Small archives of several times, signed by a key of the test, and apt itself.

use std::fs;
use std::io::Write as _;

use clap::{Args, Command, FromArgMatches};
use tempfile::TempDir;
use testkit::TestServer;
use testkit::archive::{self, Key, Suite};

use super::*;
use crate::base::apt::Keys;
use crate::base::apt::debian::DEBIAN;
use crate::base::{Base, BaseRequest, Context, LockedBase, Options};
use crate::definition::plan::{Arch, BasePlan, PackagesPlan};
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::fetch::{self, Fetcher};
use crate::process::{Run, tool};
use crate::progress::Progress;
use crate::store::Store;

const FIRST: &str = "20250101T000000Z";
const SECOND: &str = "20250201T000000Z";
/// Long past.
const EXPIRED: &str = "Wed, 01 Jan 2025 00:00:00 UTC";
const VALID: &str = "Fri, 01 Jan 2100 00:00:00 UTC";

/// What a test locks from: a folder that is the snapshot service and the mirror, and the key of its archives.
struct Place {
    folder: TempDir,
    key: Key,
    distribution: Distribution,
}

impl Place {
    /// `None`, said aloud, where a program is missing.
    fn new(test: &str) -> Option<Self> {
        for program in archive::TOOLS.iter().chain(&["apt-get"]) {
            if tool(program).arg("--version").run("").is_err() {
                testkit::not_run(test, &format!("no {program}"));
                return None;
            }
        }
        let folder = TempDir::new().unwrap();
        let key = Key::new(&folder.path().join("key"));
        let keyring: &'static str = key.keyring().to_str().unwrap().to_owned().leak();
        let keys = Keys { files: Vec::from([keyring]).leak(), ..DEBIAN.keys };
        let distribution = Distribution { keys, ..DEBIAN };
        Some(Self { folder, key, distribution })
    }

    /// Writes the archive at `root` with `version` of a package.
    fn publish(&self, root: &str, version: &str, date: &str, valid_until: &str) {
        let list = format!(
            "Package: base\nEssential: yes\nVersion: 1\nArchitecture: all\nFilename: pool/base.deb\nSize: 1\nSHA256: {0}\n\n\
             Package: demo\nVersion: {version}\nArchitecture: all\nFilename: pool/demo_{version}.deb\nSize: 1\nSHA256: {0}\n",
            Digest::of(b"x").hex()
        );
        self.suite(root, "trixie", &list, date, valid_until);
        self.suite(root, "trixie-updates", "", "Wed, 01 Jan 2020 00:00:00 UTC", valid_until);
    }

    fn suite(&self, root: &str, suite: &str, list: &str, date: &str, valid_until: &str) {
        let suite = Suite {
            origin: "Debian",
            name: suite,
            date,
            valid_until: Some(valid_until),
            arch: "amd64",
            components: &[("main", list)],
        };
        suite.write(&self.folder.path().join(root), &self.key);
    }

    /// The lock of the package, of a snapshot or from the mirror.
    fn lock(&self, snapshot: Option<&str>) -> Result<LockedBase> {
        let service = self.folder.path().join("service").display().to_string();
        self.lock_from(&service, snapshot.map(|time| time.parse().unwrap()))
    }

    fn lock_from(&self, service: &str, snapshot: Option<Snapshot>) -> Result<LockedBase> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let words = [
            "kiln".to_owned(),
            format!("--debian-mirror={0},{0}-security", path("mirror")),
            format!("--debian-snapshots={service}/"),
        ];
        let matches = Options::augment_args(Command::new("kiln")).get_matches_from(words);
        let options = Options::from_arg_matches(&matches).unwrap();
        let plan = BasePlan::Packages(PackagesPlan {
            distribution: "debian".into(),
            suite: "trixie".into(),
            snapshot: None,
            components: Vec::new(),
            packages: vec!["demo".into()],
        });
        let request =
            BaseRequest { plan: &plan, arch: Arch::Amd64, snapshot, extract: Vec::new(), held: None };
        let store = Store::open(&self.folder.path().join("store")).unwrap();
        let progress = Progress::silent();
        let fetcher = Fetcher::new(&store, fetch::Options::default(), &progress)?;
        let context = Context { options: &options, store: &store, fetcher: &fetcher, progress: &progress };
        self.distribution.lock(&request, &context)
    }
}

/// The version of the package, and the snapshot that the lock names.
fn locked(base: &LockedBase) -> (String, String) {
    let demo = base.packages().iter().find(|package| package.name == "demo").unwrap();
    (demo.version.clone(), base.snapshot().unwrap().to_string())
}

#[test]
fn a_snapshot_locks_the_packages_of_its_time_though_its_lists_have_expired() {
    let Some(place) = Place::new("a_snapshot_locks_the_packages_of_its_time") else { return };
    for (time, version) in [(FIRST, "1.0"), (SECOND, "2.0")] {
        let root = format!("service/debian/{time}");
        place.publish(&root, version, EXPIRED, EXPIRED);
        place.suite(&format!("service/debian-security/{time}"), "trixie-security", "", EXPIRED, EXPIRED);
        assert_eq!(locked(&place.lock(Some(time)).unwrap()), (version.to_owned(), time.to_owned()));
    }
    let error = place.lock(Some("20250301T000000Z")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fetch);
    let hint = error.hint().unwrap();
    assert!(hint.contains("20250301T000000Z") && hint.contains("--debian-snapshots"), "{hint}");
}

/// As Debian's service does, this one leads from any time to the last one before it that it has.
#[test]
fn the_latest_snapshot_is_the_one_that_the_service_leads_to() {
    let Some(place) = Place::new("the_latest_snapshot_is_the_one_that_the_service_leads_to") else { return };
    place.publish(&format!("service/debian/{FIRST}"), "1.0", EXPIRED, EXPIRED);
    place.suite(&format!("service/debian-security/{FIRST}"), "trixie-security", "", EXPIRED, EXPIRED);
    let folder = place.folder.path().join("service");
    let server = TestServer::run(testkit::Options::default(), move |request, to| {
        let mut parts = request.path.splitn(4, '/').skip(1);
        let [archive, time, path] = [(); 3].map(|()| parts.next().unwrap_or_default());
        if time != FIRST {
            let location = format!("Location: /{archive}/{FIRST}/{path}");
            return write!(to, "HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n");
        }
        let found = fs::read(folder.join(archive).join(FIRST).join(path));
        let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
        let body = found.unwrap_or_default();
        write!(to, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
        to.write_all(&body)
    });
    let latest = Snapshot::latest();
    let base = place.lock_from(&server.url(""), Some(latest)).unwrap();
    assert_eq!(locked(&base), ("1.0".to_owned(), latest.to_string()));
}

#[test]
fn a_mirror_gives_the_time_of_its_newest_list_and_expired_lists_only_on_demand() {
    let Some(place) = Place::new("a_mirror_gives_the_time_of_its_newest_list") else { return };
    place.publish("mirror", "3.0", "Sat, 01 Mar 2025 10:20:30 UTC", VALID);
    place.suite("mirror-security", "trixie-security", "", "Sun, 02 Mar 2025 01:02:03 UTC", VALID);
    let base = place.lock(None).unwrap();
    assert_eq!(locked(&base), ("3.0".to_owned(), "20250302T010203Z".to_owned()));
    place.suite("mirror-security", "trixie-security", "", "Sun, 02 Mar 2025 01:02:03 UTC", EXPIRED);
    let error = place.lock(None).unwrap_err();
    assert!(error.hint().unwrap().contains("--allow-expired-release"), "{error}");
}

#[test]
fn an_address_of_the_service_is_checked() {
    for wrong in ["", "snapshot.example", "ftp://snapshot.example"] {
        let error = Snapshots::of(&DEBIAN, Some(wrong)).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.hint().unwrap().contains("--debian-snapshots"));
    }
}
