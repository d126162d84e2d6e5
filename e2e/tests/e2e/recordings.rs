//! Oversight of recordings: who has it reads them, each look is recorded, and all others are told nothing.

use std::fs;

use e2e::records::lines;
use e2e::user::{ALICE, BOB, CAROL, CI};
use e2e::{Answer, Caller, Outcome, Records, World, wait};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_recordings};

use crate::recording::{Counting, whole};

crate::tests![
    overseer_reads_what_is_recorded_and_each_look_is_recorded,
    others_are_told_nothing,
    nothing_is_shown_without_a_record,
    overseer_plays_a_recording_on_a_terminal,
    overseer_searches_recordings,
    recipient_opens_a_sealed_recording,
];

/// The identity of a recipient, which opens nothing but the recordings of these tests.
const IDENTITY: &str = "AGE-SECRET-KEY-1FLPUMCFM5NHXX9N6ZUQRNDTXXGZFT84L3DPULC6AXPGP7CHH9Z2QEWXN8L";
const RECIPIENT: &str = "age1e2spmlnctfwsamsudywrapc6lk8tszuj5p8vk6p8j5wllr654dnsharpuq";
/// A name that no recording has.
const NONE: &str = "20260102T030405.000Z-0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";

fn recordings() -> Value {
    json!({"recordings": true})
}

fn ids(caller: &Caller, query: &str) -> Outcome<Vec<String>> {
    let page = caller.get(&format!("/recordings{query}"))?.expect(200)?.json()?;
    let items = page["items"].as_array().ok_or("a page without items")?;
    Ok(items
        .iter()
        .filter_map(|item| item["id"].as_str())
        .map(Into::into)
        .collect())
}

fn overseer_reads_what_is_recorded_and_each_look_is_recorded(world: &World) -> Outcome {
    let mut counting = Counting::begin(world, "recordings-seen", &json!({}))?;
    counting.see_some()?;
    counting.site.grant_oversight(&[(BOB, recordings())])?;
    let bob = counting.site.caller("BOB")?;
    // While the stream is open.
    let page = bob.get("/recordings")?.expect(200)?.json()?;
    let item = &page["items"][0];
    let (about, id) = (&item["about"], item["id"].as_str().ok_or("no ID")?.to_owned());
    assert_eq!(
        (&item["open"], &item["sealed"]),
        (&json!(true), &json!(false)),
        "{page}"
    );
    assert_eq!(
        (&about["username"], &about["pod"]),
        (&json!(ALICE), &json!("web")),
        "{page}"
    );
    let cast = format!("/recordings/{id}/cast");
    let open = bob.get(&cast)?.expect(200)?.body;
    assert!(open.ends_with('\n') && open.lines().count() > 3, "{open}");
    counting.site.caller("ALICE")?.sign_out()?;
    let folder = counting.folder.clone();
    whole(&folder)?;
    let file = fs::read_to_string(folder.join(format!("{id}.cast")))?;
    let answer = bob.get(&cast)?.expect(200)?;
    assert_eq!(answer.header("content-type"), Some("application/x-asciicast"));
    assert!(answer.body == file && file.starts_with(&open), "{}", answer.body);
    let shown = bob.get(&format!("/recordings/{id}"))?.expect(200)?.json()?;
    assert_eq!((&shown["open"], &shown["size"]), (&json!(false), &json!(file.len())));
    for (query, expected) in [
        (format!("?user={ALICE}&pod=default/web"), 1),
        (format!("?user={BOB}"), 0),
        ("?rule=role:cluster-admin".to_owned(), 1),
        ("?until=2026-01-01T00:00:00Z".to_owned(), 0),
        (format!("?before={id}"), 0),
    ] {
        assert_eq!(ids(&bob, &query)?.len(), expected, "{query}");
    }
    // What is no name of a recording leads nowhere.
    for wrong in [
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%00",
        "%ff",
        NONE,
        &format!("{id}.cast"),
    ] {
        for path in [format!("/recordings/{wrong}"), format!("/recordings/{wrong}/cast")] {
            bob.get(&path)?.expect(404)?.refusal()?;
        }
    }
    bob.get("/recordings?usr=alice")?.expect(400)?.refusal()?;
    let looks = lines(counting.records.path())?;
    let looks = looks.iter().filter(|record| record["decision"] == "looked");
    let looks: Vec<_> = looks
        .map(|record| (&record["who"]["user"]["login_name"], &record["look"]))
        .collect();
    let (list, cast) = (json!({"at": "recordings"}), json!({"at": "cast", "name": id}));
    let expected = [&list, &cast, &cast, &json!({"at": "recording", "name": id})];
    let who = json!(BOB);
    assert_eq!(looks[..4], expected.map(|look| (&who, look)));
    assert_eq!((looks.len(), &looks[5].1["query"]), (9, &json!(format!("user={BOB}"))));
    through_tka(&counting, &id, &file)
}

/// The same with `tka`.
fn through_tka(counting: &Counting<'_>, id: &str, file: &str) -> Outcome {
    let bob = counting.site.person("BOB")?;
    let listed = bob.tka(&["recordings", "list", "-o", "name"])?.expect(0)?;
    assert_eq!(listed.out, format!("{id}\n"));
    let table = bob.tka(&["recordings", "list", "--user", ALICE])?.expect(0)?;
    assert!(table.out.contains(id) && table.out.contains("default/web"), "{table:?}");
    let shown = bob.tka(&["recordings", "show", id])?.expect(0)?;
    assert!(
        shown.out.contains(ALICE) && shown.out.contains("count a b"),
        "{shown:?}"
    );
    bob.tka(&["recordings", "export", id, "--file", "a.cast"])?.expect(0)?;
    assert_eq!(fs::read_to_string(bob.home().join("a.cast"))?, file);
    let again = bob.tka(&["recordings", "export", id, "--file", "a.cast"])?.expect(1)?;
    assert!(again.err.contains("--force"), "{again:?}");
    let piped = bob.tka(&["recordings", "export", id, "--file", "-"])?.expect(0)?;
    assert_eq!(piped.out, file);
    let alice = counting.site.person("ALICE")?;
    let refused = alice.tka(&["recordings", "list"])?;
    assert!(
        refused.status == Some(4) && refused.err.contains("oversight"),
        "{refused:?}"
    );
    Ok(())
}

/// All that a caller sees of an answer, but for when it came.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (answer.status, headers.collect(), answer.body.clone())
}

fn others_are_told_nothing(world: &World) -> Outcome {
    let folder = world.new_folder("recordings-hidden-recordings")?;
    fs::write(folder.join(format!("{NONE}.cast")), "{\"version\": 2}\n")?;
    let site = world.site_with(ServerOptions {
        config: with_recordings(&folder),
        ..ServerOptions::new("recordings-hidden")
    })?;
    site.grant(&[
        (
            ALICE,
            json!({"role": "cluster-admin", "period": "10m", "recording": "required"}),
        ),
        (CAROL, recordings()),
    ])?;
    site.grant_oversight(&[
        (ALICE, json!({"audit": true, "sessions": "end", "approve": ["oncall"]})),
        (BOB, json!({"recordings": true, "recording": true})),
        (CI, recordings()),
    ])?;
    for node in ["ALICE", "BOB", "CAROL", "CI"] {
        let caller = site.caller(node)?;
        let nothing = seen(&caller.get("/nothing-is-here")?.expect(404)?);
        for path in [
            "/recordings".to_owned(),
            "/recordings?limit=nonsense".to_owned(),
            format!("/recordings/{NONE}"),
            format!("/recordings/{NONE}/cast"),
            "/recordings/%ff".to_owned(),
            "/recordings/none".to_owned(),
        ] {
            assert_eq!(seen(&caller.get(&path)?), nothing, "{node} {path}");
        }
    }
    // It counts from the next request on, and no longer than the policy has it.
    let bob = site.caller("BOB")?;
    site.grant_oversight(&[(BOB, recordings())])?;
    assert_eq!(ids(&bob, "")?, [NONE]);
    site.grant_oversight(&[])?;
    bob.get("/recordings")?.expect(404)?;
    Ok(())
}

fn nothing_is_shown_without_a_record(world: &World) -> Outcome {
    let folder = world.new_folder("recordings-unrecorded-recordings")?;
    fs::write(folder.join(format!("{NONE}.cast")), "{\"version\": 2, \"secret\": 1}\n")?;
    let options = ServerOptions {
        config: with_recordings(&folder),
        ..ServerOptions::new("recordings-unrecorded")
    };
    let (records, options) = Records::of(world, options)?;
    let site = world.site_with(options)?;
    site.grant_oversight(&[(BOB, recordings())])?;
    let bob = site.caller("BOB")?;
    let log = records.path().parent().ok_or("the file is in no folder")?;
    fs::remove_dir_all(log)?;
    for path in [
        "/recordings".to_owned(),
        format!("/recordings/{NONE}"),
        format!("/recordings/{NONE}/cast"),
    ] {
        let answer = bob.get(&path)?.expect(503)?;
        assert!(
            !answer.body.contains("secret") && !answer.body.contains(NONE),
            "{}",
            answer.body
        );
    }
    fs::create_dir(log)?;
    wait::until_true("records can be written again", || {
        Ok(bob.get("/recordings")?.status == 200)
    })
}

/// A server with a recording of Alice's, that Bob may read, and its name.
fn recorded<'w>(world: &'w World, name: &str, more: &Value) -> Outcome<(Counting<'w>, String)> {
    let mut counting = Counting::begin(world, name, more)?;
    counting.see_some()?;
    counting.site.grant_oversight(&[(BOB, recordings())])?;
    counting.site.caller("ALICE")?.sign_out()?;
    let bob = counting.site.caller("BOB")?;
    let id = wait::until("the recording is whole", || {
        let page = bob.get("/recordings")?.expect(200)?.json()?;
        let item = &page["items"][0];
        Ok(item["id"]
            .as_str()
            .filter(|_| item["open"] == false)
            .map(ToOwned::to_owned))
    })?;
    Ok((counting, id))
}

fn overseer_plays_a_recording_on_a_terminal(world: &World) -> Outcome {
    let (counting, id) = recorded(world, "recordings-played", &json!({}))?;
    let bob = counting.site.person("BOB")?;
    let play = bob.typed(&["recordings", "play", &id, "--speed", "0.01"]);
    let mut terminal = rexpect::session::spawn_command(play, Some(60_000))?;
    let press = |terminal: &mut rexpect::session::PtySession, keys: &str| -> Outcome {
        terminal.send(keys)?;
        Ok(terminal.flush()?)
    };
    // The player stands still and shows what it is asked for, twice, because it goes back to the beginning.
    terminal.exp_string("\x1b[2J")?;
    press(&mut terminal, " ........")?;
    terminal.exp_string("1\r\n2\r\n")?;
    press(&mut terminal, "\x1b[D")?;
    terminal.exp_string("\x1b[2J")?;
    press(&mut terminal, "........")?;
    terminal.exp_string("1\r\n2\r\n")?;
    press(&mut terminal, "q")?;
    terminal.exp_eof()?;
    // Where there is no terminal, it is played to its end.
    let played = bob
        .tka(&["recordings", "play", &id, "--speed", "1000", "--idle", "0.1"])?
        .expect(0)?;
    assert!(
        played.out.starts_with("1\n2\n3\n") && !played.err.contains("has no end"),
        "{played:?}"
    );
    // Going back read it once more, and each of these is recorded.
    let looks = lines(counting.records.path())?;
    let casts = looks.iter().filter(|record| record["look"]["at"] == "cast");
    assert_eq!(casts.count(), 3);
    Ok(())
}

fn overseer_searches_recordings(world: &World) -> Outcome {
    let (counting, id) = recorded(world, "recordings-searched", &json!({}))?;
    let bob = counting.site.person("BOB")?;
    let grep = |arguments: &[&str]| bob.tka(&[&["recordings", "grep"][..], arguments].concat());
    let found = grep(&["^(7|8)$", "--user", ALICE, "--pod", "default/web"])?.expect(0)?;
    let found: Vec<Vec<&str>> = found.out.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0][0], found[0][2..].to_vec()), (id.as_str(), vec![ALICE, "7"]));
    // The time leads to what was found.
    let played = bob.tka(&[
        "recordings",
        "play",
        &id,
        "--speed",
        "1000",
        "--idle",
        "0.1",
        "--from",
        found[1][1],
    ])?;
    assert!(played.expect(0)?.out.contains("\n8\n"));
    assert_eq!(grep(&["7", &id, "-o", "name"])?.expect(0)?.out, format!("{id}\n"));
    assert_eq!(grep(&["not there"])?.expect(1)?.out, "");
    assert_eq!(grep(&["7", "--user", BOB])?.expect(1)?.out, "");
    grep(&["("])?.expect(2)?;
    let alice = counting.site.person("ALICE")?;
    alice.tka(&["recordings", "grep", "7"])?.expect(4)?;
    Ok(())
}

fn recipient_opens_a_sealed_recording(world: &World) -> Outcome {
    let (counting, id) = recorded(world, "recordings-sealed", &json!({"recipients": [RECIPIENT]}))?;
    let bob = counting.site.person("BOB")?;
    fs::write(bob.home().join("key.txt"), format!("# made for a test\n{IDENTITY}\n"))?;
    let sealed = bob.tka(&["recordings", "cat", &id])?.expect(1)?;
    assert!(sealed.err.contains("--identity") && sealed.out.is_empty(), "{sealed:?}");
    let with = |arguments: &[&str]| {
        let all = [&["recordings"][..], arguments, &[id.as_str(), "--identity", "key.txt"]].concat();
        bob.tka(&all)?.expect(0)
    };
    assert!(with(&["cat"])?.out.starts_with("1\n2\n3\n"));
    assert!(with(&["show"])?.out.contains(ALICE));
    assert!(
        with(&["play", "--speed", "1000", "--idle", "0.1"])?
            .out
            .starts_with("1\n2\n")
    );
    assert!(with(&["grep", "^7$"])?.out.ends_with(&format!("{ALICE} 7\n")));
    with(&["export", "--file", "a.cast"])?;
    let opened = fs::read_to_string(bob.home().join("a.cast"))?;
    assert!(opened.starts_with('{') && opened.contains("count"), "{opened}");
    // The setting names one too, and what is left out of a list is said.
    let mut cat = bob.typed(&["recordings", "cat", &id]);
    let said = cat
        .env("TKA_RECORDINGS_IDENTITY", bob.home().join("key.txt"))
        .output()?;
    assert!(said.status.success(), "{said:?}");
    let left_out = bob.tka(&["recordings", "grep", "7", "--user", ALICE])?.expect(1)?;
    assert!(
        left_out.err.contains("sealed recordings are not searched"),
        "{left_out:?}"
    );
    Ok(())
}
