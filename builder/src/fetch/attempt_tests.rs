use super::*;

fn download<'a>(
    places: &'a [Place],
    retries: u32,
    stop: &'a AtomicBool,
    progress: &'a Progress,
) -> Download<'a> {
    Download {
        title: "kubelet",
        places,
        absent: None,
        retries,
        backoff: Duration::from_millis(1),
        stop,
        progress,
    }
}

fn fails(text: &str) -> Error {
    Error::new(ErrorKind::Fetch, text)
}

#[test]
fn pauses_grow_stay_bounded_and_vary() {
    let first = Duration::from_millis(500);
    let drawn: Vec<_> = (0..50).map(|_| pause(first, 3)).collect();
    assert!(drawn.iter().all(|pause| *pause <= 4 * first));
    assert!(drawn.iter().any(|pause| *pause > first), "the bound grows with the failures");
    assert!(drawn.iter().any(|pause| pause != &drawn[0]), "full jitter");
    assert!((0..50).all(|_| pause(first, 4_000_000_000) <= LONGEST_PAUSE));
}

#[test]
fn passing_failures_are_tried_again_and_final_ones_are_not() {
    let (stop, progress) = (AtomicBool::new(false), Progress::silent());
    let places = [Place::Local("/a".into()), Place::Local("/b".into())];
    let download = download(&places, 2, &stop, &progress);
    let mut attempts = Vec::new();
    let error = download
        .run::<()>(|place| {
            attempts.push(place.to_string());
            Err(if place.to_string() == "/a" {
                Failure::passing(fails("busy"))
            } else {
                Failure::Place(fails("absent"))
            })
        })
        .unwrap_err();
    assert_eq!(attempts, ["/a", "/a", "/a", "/b"]);
    assert_eq!(
        error.message(),
        "kubelet: none of 2 places has it\n  /a: gave up after 3 attempts: busy\n  /b: absent"
    );
    let mut count = 0;
    let stops = download.run::<()>(|_| {
        count += 1;
        Err(Failure::Final(fails("disk full")))
    });
    assert_eq!((count, stops.unwrap_err().message()), (1, "kubelet: disk full"));
}

#[test]
fn only_a_file_that_no_place_has_is_said_to_be_absent() {
    let (stop, progress) = (AtomicBool::new(false), Progress::silent());
    let places = [Place::Local("/a".into()), Place::Local("/b".into())];
    let absence = Absence { message: "kubelet is no longer there".into(), help: "lock again".into() };
    let download = Download { absent: Some(&absence), ..download(&places, 0, &stop, &progress) };
    let gone = download.run::<()>(|_| Err(Failure::Absent(fails("404")))).unwrap_err();
    assert_eq!((gone.message(), gone.hint()), ("kubelet is no longer there", Some("lock again")));
    let second = |place: &Place| {
        if place.to_string() == "/a" { Failure::Absent(fails("404")) } else { Failure::Place(fails("403")) }
    };
    assert!(download.run::<()>(|place| Err(second(place))).unwrap_err().message().contains("/b: 403"));
}

#[test]
fn an_attempt_that_advances_renews_the_patience() {
    let (stop, progress) = (AtomicBool::new(false), Progress::silent());
    let places = [Place::Local("/a".into())];
    let mut left = 10;
    let outcome = download(&places, 1, &stop, &progress).run(|_| {
        left -= 1;
        if left == 0 {
            Ok(())
        } else {
            Err(Failure::Passing { error: fails("cut"), after: None, advanced: true })
        }
    });
    assert!(outcome.is_ok());
}

#[test]
fn a_wait_ends_once_the_file_is_no_longer_wanted() {
    let (stop, progress) = (AtomicBool::new(true), Progress::silent());
    let places = [Place::Local("/a".into())];
    let outcome = download(&places, 5, &stop, &progress).run::<()>(|_| {
        Err(Failure::Passing {
            error: fails("busy"),
            after: Some(Duration::from_secs(3600)),
            advanced: false,
        })
    });
    assert!(outcome.unwrap_err().message().contains("another download failed"));
}

#[test]
fn wrong_bytes_weigh_more_than_silence() {
    let wrong = Error::new(ErrorKind::Verification, "wrong").help("upstream replaced it");
    let error = combine("kubelet", vec![fails("silent").help("check the network"), wrong]);
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Verification, Some("upstream replaced it")));
}
