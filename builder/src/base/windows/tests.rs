use super::*;

fn image(index: u32, name: &str, edition: &str) -> Image {
    Image { index, name: name.to_owned(), edition: Some(edition.to_owned()), bytes: 0 }
}

#[test]
fn an_image_is_meant_by_its_edition_its_name_or_its_number() {
    let images = [image(1, "Core", "ServerStandardCore"), image(2, "Desktop", "ServerStandard")];
    for (wanted, index) in [("serverstandardcore", 1), ("Desktop", 2), ("2", 2)] {
        assert_eq!(choose(&images, Some(wanted), By::Definition, "x").unwrap().index, index);
    }
    assert_eq!(choose(&images[..1], None, By::Definition, "x").unwrap().index, 1);
    let twice = [image(1, "Core", "ServerStandard"), image(2, "Desktop", "ServerStandard")];
    for (images, wanted, says) in [
        (&images, None, "x holds 2 images"),
        (&images, Some("ServerDatacenter"), "holds no image \"ServerDatacenter\""),
        (&twice, Some("ServerStandard"), "more than one image"),
    ] {
        let error = choose(images, wanted, By::Definition, "x").unwrap_err();
        assert!(error.message().contains(says), "{error}");
        assert!(error.hint().unwrap().contains("2 Desktop (ServerStandard)"), "{error}");
    }
}
