//! The console's answers over HTTP: what they hold, their pages, and whom they refuse.

use std::io::{Read, Write};

use crate::harness::{Running, connect, create_topic, http};

/// Status, headers in lower case, and body of a request as it is written.
fn send(running: &Running, request: &str) -> (u16, String, String) {
    let mut stream = connect(running.broker().http_address().expect("HTTP is on"));
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

pub fn with_topics(names: &[&str]) -> Running {
    let running = Running::start();
    let mut stream = running.connect();
    for name in names {
        create_topic(&mut stream, name, 3);
    }
    running
}

pub fn get(running: &Running, path: &str) -> (u16, serde_json::Value) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (status, _, body) = send(running, &request);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

#[test]
fn every_answer_of_the_api_holds_what_it_promises() {
    let running = with_topics(&["a", "b", "c"]);
    let (status, cluster) = get(&running, "/api/v1/cluster");
    assert_eq!((status, &cluster["topics"], &cluster["partitions"]), (200, &3.into(), &9.into()));
    assert!(cluster["problem"].is_null() && cluster["brokers"][0]["is_active"] == true, "{cluster}");
    let (_, topic) = get(&running, "/api/v1/topic?name=b");
    assert_eq!(topic["partitions"]["total"], 3);
    let partition = &topic["partitions"]["items"][2];
    assert_eq!((&partition["leader_id"], &partition["log_end_offset"]), (&1.into(), &0.into()));
    assert!(topic["configs"].as_array().is_some_and(|configs| configs.len() > 20), "{topic}");
    let (_, broker) = get(&running, "/api/v1/broker");
    let configs = broker["configs"].as_array().expect("properties");
    let named = |name: &str| configs.iter().find(|config| config["name"] == name).expect("it is listed");
    assert_eq!(named("log.dirs")["source"], "STATIC_BROKER_CONFIG");
    assert_eq!(named("log.retention.hours")["is_set"], false);
    let secret = named("ssl.key.password");
    assert!(secret["is_sensitive"] == true && secret["value"].is_null(), "{secret}");
    let (_, quorum) = get(&running, "/api/v1/quorum");
    assert_eq!((&quorum["leader_id"], &quorum["voters"][0]["is_leader"]), (&1.into(), &true.into()));
    assert!(quorum["high_watermark"].as_u64() > Some(0), "{quorum}");
    let (_, groups) = get(&running, "/api/v1/groups");
    assert_eq!((&groups["total"], &groups["items"]), (&0.into(), &serde_json::json!([])));
}

#[test]
fn topics_come_in_pages_and_by_search() {
    let running = with_topics(&["a1", "a2", "b1", "b2", "c1"]);
    let names = |path: &str| {
        let (status, page) = get(&running, path);
        assert_eq!(status, 200, "{path}: {page}");
        let items = page["items"].as_array().expect("items").clone();
        let names: Vec<_> = items.iter().map(|item| item["name"].as_str().unwrap_or("").to_owned()).collect();
        (names.join(" "), page["next"].as_str().map(str::to_owned), page["total"].as_u64())
    };
    assert_eq!(names("/api/v1/topics?limit=2"), ("a1 a2".to_owned(), Some("a2".to_owned()), Some(5)));
    assert_eq!(names("/api/v1/topics?limit=2&after=b2"), ("c1".to_owned(), None, Some(5)));
    assert_eq!(names("/api/v1/topics?search=A"), ("a1 a2".to_owned(), None, Some(2)));
    for (path, code) in
        [("/api/v1/topics?limit=0", 400), ("/api/v1/topic", 400), ("/api/v1/topic?name=%3Cscript%3E", 404)]
    {
        let (status, refused) = get(&running, path);
        assert!(status == code && refused["error"].is_string(), "{path}: {status} {refused}");
    }
}

#[test]
fn page_is_guarded_by_policy_host_origin_and_method() {
    let running = Running::start();
    let ask = |method: &str, path: &str, host: &str, more: &str| {
        send(
            &running,
            &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"),
        )
    };
    let (status, head, page) = ask("GET", "/console", "127.0.0.1:9464", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(page.contains("<title>Milena</title>") && !page.contains("<style") && !page.contains("style="));
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    let known = format!("If-None-Match: {tag}\r\n");
    assert_eq!(ask("GET", "/console", "127.0.0.1:9464", &known).0, 304);
    assert_eq!(ask("HEAD", "/console/main.js", "localhost", "").0, 200);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/console", "/api/v1/topics", "/metrics"] {
            assert_eq!(ask(method, path, "localhost", "").0, 405, "{method} {path}");
        }
    }
    for path in ["/console", "/api/v1/broker"] {
        assert_eq!(ask("GET", path, "evil.example", "").0, 403, "{path}");
        assert_eq!(ask("GET", path, "localhost", "Origin: http://evil.example\r\n").0, 403, "{path}");
    }
    // Scrapers and probes use what names they like.
    assert_eq!(http(running.broker().http_address().expect("HTTP is on"), "/metrics").0, 200);
}
