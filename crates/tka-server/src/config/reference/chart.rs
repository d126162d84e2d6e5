//! What the chart's schema takes of what it knows itself, held against the server's own check.

use proptest::prelude::*;
use serde_json::{Value, json};
use tka_core::{ApiServerUrl, is_object_name};

const CHART: &str = include_str!("../../../../../charts/tka/values.schema.json");

/// What holds for the values at `pointer`, with the definitions that it may refer to.
fn validator(pointer: &str) -> jsonschema::Validator {
    let chart: Value = serde_json::from_str(CHART).unwrap();
    let schema = json!({"definitions": chart["definitions"], "allOf": [chart.pointer(pointer).unwrap()]});
    jsonschema::draft7::new(&schema).unwrap()
}

fn api_endpoint() -> jsonschema::Validator {
    validator("/properties/clusterInfo/properties/apiEndpoint")
}

#[test]
fn api_endpoint_is_what_the_server_takes() {
    let validator = api_endpoint();
    let label = "a".repeat(63);
    let name = [&*label, &label, &label, &"a".repeat(61)].join(".");
    for url in [
        "https://k",
        "HTTPS://k",
        "https://k:6443",
        "https://k:0443",
        "https://k:65535/",
        "https://k8s.example.com./k8s/clusters/c-m-abc%20d",
        "https://my_host-1:1/a:b//c",
        "https://1.example:1",
        "https://10.0.0.1:443",
        "https://[fd00::1]:6443",
        "https://[::]",
        "https://[1:2:3:4:5:6:7::]/x",
        "https://[1:2:3:4:5:6:7:8]",
        "https://[::ffff:10.0.0.1]",
        "https://[1:2:3:4:5:6:10.0.0.1]",
        &format!("https://{label}"),
        &format!("https://{name}.:1"),
    ] {
        assert!(ApiServerUrl::parse(url).is_ok(), "{url}");
        assert!(validator.is_valid(&url.into()), "{url}");
    }
    for url in [
        "k:6443",
        "http://k",
        "https:/k",
        "https://",
        "https:///k",
        "https://:6443",
        "https://https://k",
        "https://k/://",
        "https://k ",
        "https://k\n",
        "https://k\u{200b}",
        "https://user:hunter2@k",
        "https://k?x=1",
        "https://k/#x",
        "https://k:",
        "https://k:/",
        "https://k:0",
        "https://k:99999",
        "https://k:65536",
        "https://k:https",
        "https://k/%zz",
        "https://k/%2",
        "https://k/\\",
        "https://bücher",
        "https://k/ä",
        "https://-k",
        "https://k-.example",
        "https://k..example",
        "https://10.0.0.256",
        "https://10.0.0.01",
        "https://10.0.0",
        "https://10.0.0.1.",
        "https://k.1/x",
        "https://443",
        "https://fd00::1",
        "https://[fd00::1",
        "https://[fd00::1]6443",
        "https://[fd00::1]:",
        "https://[k]",
        "https://[10.0.0.1]",
        "https://[1::2::3]",
        "https://[:1]",
        "https://[12345::]",
        "https://[1:2:3:4:5:6:7]",
        "https://[1:2:3:4::5:6:7:8]",
        "https://[1:2:3:4::5:6:10.0.0.1]",
        "https://[::10.0.0.256]",
        &format!("https://{label}a"),
        &format!("https://{name}a"),
    ] {
        assert!(ApiServerUrl::parse(url).is_err(), "{url}");
        assert!(!validator.is_valid(&url.into()), "{url}");
    }
    // The chart asks for another source then.
    assert!(validator.is_valid(&"".into()));
}

#[test]
fn control_url_has_a_port_that_there_is() {
    let validator = validator("/properties/tailscale/properties/controlUrl");
    for url in [
        "",
        "http://k",
        "https://headscale.example.com/",
        "https://k:8443",
        "https://[fd00::1]:8443/",
        "https://bücher.example:1",
    ] {
        assert!(validator.is_valid(&url.into()), "{url}");
    }
    for url in [
        "k",
        "https://",
        "https://https://k",
        "https://k:",
        "https://k:0",
        "https://k:99999",
        "https://k:x",
        "https://[fd00::1",
        "https://fd00::1",
        "https://user:pw@k",
    ] {
        assert!(!validator.is_valid(&url.into()), "{url}");
    }
}

#[test]
fn config_map_is_called_as_the_server_takes_it() {
    let validator = validator("/properties/clusterInfo/properties/configMap/properties/name");
    for name in [
        "cluster-info",
        "kube-root-ca.crt",
        "1",
        "",
        "A b",
        "a_b",
        "-a",
        "a.",
        "a..b",
        "a/b",
    ] {
        assert_eq!(validator.is_valid(&name.into()), is_object_name(name), "{name:?}");
    }
}

/// YAML makes 1000 of `1e3`, 83 of `0123` and 31 of `0x1F`.
#[test]
fn tag_of_an_image_is_a_text() {
    let validator = validator("/definitions/image");
    let image = |tag: &Value| json!({"repository": "r/tka", "tag": tag, "digest": "", "pullPolicy": "Always"});
    for tag in ["", "1e3", "0123", "v1.2.3_x-y"] {
        assert!(validator.is_valid(&image(&tag.into())), "{tag}");
    }
    for yaml in ["1e3", "0123", "0x1F", "1000", "1.5", "true", "~"] {
        let tag: Value = serde_saphyr::from_str(yaml).unwrap();
        assert!(!validator.is_valid(&image(&tag)), "{yaml}: {tag}");
    }
}

proptest! {
    #[test]
    fn no_api_endpoint_divides_chart_and_server(
        urls in prop::collection::vec(
            "(https|HTtps|http)://([a1_-]{1,4}(\\.[a1_-]{0,3}){0,2}|[0-9]{1,3}(\\.[0-9]{1,3}){2,4}\\.?|\\[(1?:|ab:|::|:1){0,8}(1|(1\\.){3}1)?\\]?|[a@?#\\[:./ü ]{0,8})\
             (:[0-9]{0,6}|:a)?(/[a%0:/ü]{0,4})?",
            64,
        ),
    ) {
        let validator = api_endpoint();
        for url in urls {
            prop_assert_eq!(validator.is_valid(&url.clone().into()), ApiServerUrl::parse(&url).is_ok(), "{}", url);
        }
    }
}
