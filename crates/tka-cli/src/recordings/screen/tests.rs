use super::*;

fn shown(pieces: &[&str]) -> String {
    let mut screen = Screen::default();
    pieces.iter().map(|piece| screen.shown(piece)).collect()
}

/// Sequences that change the picture and nothing more.
const PASSING: [&str; 22] = [
    "a\r\n\tb\u{8} \u{fc}\u{65e5}\u{fffd}",
    "\x1b[1;31mred\x1b[0m",
    "\x1b[38;2;1;2;3m\x1b[4:3m",
    "\x1b[H\x1b[2J\x1b[K\x1b[1K\x1b[10;20H",
    "\x1b[A\x1b[2B\x1b[C\x1b[D\x1b[E\x1b[F\x1b[5G\x1b[3d\x1b[2`\x1b[2e\x1b[2a\x1b[1;1f",
    "\x1b[L\x1b[2M\x1b[P\x1b[3@\x1b[X\x1b[S\x1b[2T\x1b[1;20r",
    "\x1b[g\x1b[3I\x1b[Z",
    "-\x1b[79b",
    "\x1b7\x1b8\x1b[s\x1b[u",
    "\x1bD\x1bE\x1bM\x1bH",
    "\x1b(0lqk\x1b(B\x1b)0\x0e\x0f",
    "\x1b#8",
    "\x1b[?25l\x1b[?25h",
    "\x1b[?1049h\x1b[?1049l",
    "\x1b[?47h\x1b[?1047l",
    "\x1b[?7l\x1b[?7h\x1b[?6h\x1b[?6l\x1b[?5h\x1b[?5l\x1b[?12h",
    "\x1b[4h\x1b[4l",
    "\x0b\x0c",
    "plain",
    "",
    "\u{1f600}",
    "\u{a0}\u{2028}",
];

/// Sequences that do something else, or that are none.
const LEFT_OUT: [&str; 58] = [
    // The clipboard, the title, colours and the folder of the terminal, links, notifications, files.
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]52;c;?\x1b\\",
    "\x1b]0;title\x07",
    "\x1b]2;title\x1b\\",
    "\u{9d}2;title\u{9c}",
    "\x1b]4;1;?\x07",
    "\x1b]10;?\x07",
    "\x1b]7;file:///etc\x07",
    "\x1b]8;;https://evil.example.com\x07",
    "\x1b]9;hello\x07",
    "\x1b]777;notify;a;b\x07",
    "\x1b]1337;File=inline=1:aaaa\x07",
    // What the terminal answers: device attributes, status, cursor position, answerback, settings, checksums, keys.
    "\x1b[c",
    "\x1b[0c",
    "\x1b[>c",
    "\x1b[=c",
    "\x1b[5n",
    "\x1b[6n",
    "\x1b[?6n",
    "\u{9b}6n",
    "\x05",
    "\x1bZ",
    "\x1b[x",
    "\x1b[>q",
    "\x1b[?2004$p",
    "\x1b[4$p",
    "\x1b[1;1;1;1;1;1*y",
    "\x1bP$qm\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\u{90}+q544e\u{9c}",
    "\x1b[?u",
    "\x1b[?1;1;0S",
    // The window.
    "\x1b[21t",
    "\x1b[8;1;1t",
    "\x1b[22;0t",
    // The printer.
    "\x1b[5i",
    "\x1b[?5i",
    // Keyboard, mouse, focus, pasting.
    "\x1b[2h",
    "\x1b[20h",
    "\x1b=",
    "\x1b>",
    "\x1b[?1h",
    "\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1006h",
    "\x1b[?1004h",
    "\x1b[?2004h",
    "\x1b[>4;2m",
    "\x1b[>1u",
    "\x1b[1;1;1;1;1T",
    // What has scrolled out, other widths, screens that stand still, margins at the sides.
    "\x1b[3J",
    "\x1b[?3h",
    "\x1b[?2026h",
    "\x1b[?69h\x1b[1;2s",
    // Programs and macros of terminals.
    "\x1b_Gi=1;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstring\x1b\\",
    // Other characters without a picture.
    "\x00\x07\x7f\u{85}\u{84}",
    // Numbers that only cost.
    "\x1b[99999b",
    "\x1b[1;99999H",
];

#[test]
fn what_changes_the_picture_passes_as_it_is() {
    for output in PASSING {
        assert_eq!(shown(&[output]), output, "{output:?}");
    }
}

#[test]
fn nothing_else_passes_and_text_around_it_does() {
    for output in LEFT_OUT {
        let around = format!("a{output}b");
        assert_eq!(shown(&[&around]), "ab", "{output:?}");
    }
}

#[test]
fn no_split_lets_anything_pass() {
    for output in LEFT_OUT.iter().chain(&PASSING) {
        let whole = shown(&[output]);
        for (at, _) in output.char_indices() {
            assert_eq!(shown(&[&output[..at], &output[at..]]), whole, "{output:?} {at}");
        }
    }
}

#[test]
fn of_several_modes_those_on_the_list_pass() {
    assert_eq!(shown(&["\x1b[?1049;2004;25h"]), "\x1b[?1049;25h");
    assert_eq!(shown(&["\u{9b}?25l\u{9b}1m"]), "\x1b[?25l\x1b[1m");
}

#[test]
fn reset_is_an_empty_screen() {
    let cleared = shown(&["\x1b[?1049hx\x1bcy"]);
    let (before, after) = cleared.split_once('x').unwrap();
    assert_eq!(before, "\x1b[?1049h");
    assert!(
        after.starts_with("\x1b[?1049l") && after.ends_with("\x1b[H\x1b[2Jy"),
        "{after:?}"
    );
    assert!(!after.contains("\x1bc"));
}

#[test]
fn sequences_that_are_cut_end_and_hide_nothing() {
    for (output, expected) in [
        // Cancelled, begun anew, and executed within.
        ("\x1b[1\x18a", "a"),
        ("\x1b]0;t\x1aa", "a"),
        ("\x1b[1\x1b[2mb", "\x1b[2mb"),
        ("\x1b]0;t\x1b[31mred", "\x1b[31mred"),
        ("\x1b[1\n;31m", "\n\x1b[1;31m"),
        ("\x1b]0;t\x1b\x1b\\b", "b"),
        // No final byte is like that.
        ("\x1b[1\u{fc}x", "\u{fc}x"),
        // Never ended: nothing is left for the terminal to wait for.
        ("a\x1b", "a"),
        ("a\x1b[12;", "a"),
        ("a\x1b(", "a"),
        ("\x1b(+Bx", "x"),
    ] {
        assert_eq!(shown(&[output]), expected, "{output:?}");
    }
    let endless = format!("\x1b]0;{}shown", "x".repeat(STRING));
    assert!(shown(&[&endless]).ends_with("shown"));
    let long = format!("\x1b[{}mshown", "1;".repeat(PARAMETERS));
    assert_eq!(shown(&[&long]), "shown");
}

#[test]
fn what_is_left_out_is_counted_and_the_terminal_comes_back() {
    let mut screen = Screen::default();
    screen.shown("\x1b[31m\x1b]0;t\x07\x1b[6n\x1b[?1049;2004h");
    assert_eq!(screen.left_out(), 3);
    assert!(screen.end().starts_with("\x1b[?1049l") && screen.end().contains("\x1b[0m"));
    screen.shown("\x1b[?1049l");
    assert!(!screen.end().contains("1049"));
    assert_eq!(Screen::begin(2), "\n\n\x1b[H\x1b[2J");
}

#[test]
fn any_output_leaves_only_what_is_on_the_list() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        // Nearer to sequences than any bytes are.
        let letters = b"\x1b[]?0123;:hlmJKTnc$ \\\x07\x18PX^_(B\n";
        let near: Vec<u8> = bytes
            .iter()
            .map(|byte| letters[usize::from(*byte) % letters.len()])
            .collect();
        for output in [String::from_utf8_lossy(bytes), String::from_utf8_lossy(&near)] {
            let once = shown(&[&output]);
            // What passed passes again as it is: it is whole, and on the list.
            assert_eq!(shown(&[&once]), once);
            assert!(!once.contains(['\u{5}', '\u{7}', '\u{9b}', '\u{9d}', '\u{90}']));
        }
    });
}
