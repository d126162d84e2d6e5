//! What of a recording reaches the terminal that it is played on.
//!
//! A recording holds what a pod has written, and may be a trap for the person who plays it. A sequence can write the clipboard, change the window's
//! title, clear what was shown before, or switch the mouse on. It can have the terminal type an answer into the next shell. So this is a list of
//! what passes, and all else is left out. Text passes, and so do sequences that change the picture and nothing more (ECMA-48; xterm's `ctlseqs`).
//! Only whole sequences pass, so that the terminal is never left within one.

/// How long the parameters of a sequence are at the most. Colours take some twenty characters.
const PARAMETERS: usize = 128;
/// How much of a string (OSC, DCS and the like) is left out before what follows counts as text. One without an end must not hide all that follows.
const STRING: usize = 64 * 1024;
/// Modes that change the picture alone (DECSET): reverse video, origin, wrapping, a cursor that blinks and is seen, the alternate screen.
const MODES: [&str; 8] = ["5", "6", "7", "12", "25", "47", "1047", "1049"];
/// Those of them that lead to the alternate screen.
const ALTERNATE: [&str; 3] = ["47", "1047", "1049"];
/// What programs may have changed, as it is in a fresh terminal: colours, character sets, inserting, modes and margins.
const DEFAULTS: &str = "\x1b[0m\x0f\x1b(B\x1b)B\x1b[4l\x1b[?5l\x1b[?6l\x1b[?7h\x1b[?25h\x1b[r";
/// To the main screen.
const MAIN_SCREEN: &str = "\x1b[?1049l";
/// An empty screen, as after a reset.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// To the last line.
const LAST_LINE: &str = "\x1b[9999;1H";

/// Lets through what only changes the picture, of output that comes piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    state: State,
    /// The parameters of a control sequence.
    parameters: String,
    /// How long a string is by now.
    length: usize,
    is_alternate: bool,
    left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Text,
    /// After an escape.
    Escape,
    /// After an escape and this intermediate byte.
    Intermediate(char),
    /// In a control sequence, up to its final byte.
    Control,
    /// In one that is too long.
    TooLong,
    /// In a string (OSC, DCS, SOS, PM, APC), up to its terminator.
    Quoted,
    /// After an escape within one.
    QuotedEscape,
}

// === impl Screen ===

impl Screen {
    /// What of `output` the terminal may have.
    pub(crate) fn shown(&mut self, output: &str) -> String {
        let mut shown = String::with_capacity(output.len());
        for c in output.chars() {
            self.read(c, &mut shown);
        }
        shown
    }

    /// How many sequences were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// An empty screen to play on from the beginning. What `rows` show now scrolls out of reach of what is played.
    pub(crate) fn begin(rows: u16) -> String {
        "\n".repeat(rows.into()) + CLEAR
    }

    /// An empty screen in the middle of playing.
    pub(crate) fn again(&mut self) -> String {
        let leaves = if self.is_alternate { MAIN_SCREEN } else { "" };
        let left_out = self.left_out;
        *self = Self {
            left_out,
            ..Self::default()
        };
        format!("{leaves}{DEFAULTS}{CLEAR}")
    }

    /// What brings the terminal back to where it was, with the cursor below the picture.
    pub(crate) fn end(&self) -> String {
        let leaves = if self.is_alternate { MAIN_SCREEN } else { "" };
        format!("{leaves}{DEFAULTS}{LAST_LINE}\r\n")
    }

    fn read(&mut self, c: char, shown: &mut String) {
        match (self.state, c) {
            (State::Quoted | State::QuotedEscape, _) => self.quoted(c, shown),
            // These end a sequence before its end.
            (_, '\u{18}' | '\u{1a}') => self.state = State::Text,
            (_, '\u{1b}') => self.state = State::Escape,
            (_, '\u{9b}') => self.begins_control(),
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => self.begins_string(),
            // A terminal obeys these within a sequence too.
            (_, '\u{8}'..='\u{f}') => shown.push(c),
            (_, c) if c.is_control() => {}
            (State::Text, c) => shown.push(c),
            (State::Escape, c) => self.escape(c, shown),
            (State::Intermediate(first), c) => self.designates(first, c, shown),
            (State::Control | State::TooLong, c) => self.control(c, shown),
        }
    }

    fn quoted(&mut self, c: char, shown: &mut String) {
        self.length += 1;
        self.state = match (self.state, c) {
            (_, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') | (State::QuotedEscape, '\\') => State::Text,
            (_, '\u{1b}') => State::QuotedEscape,
            (State::QuotedEscape, _) => {
                // An escape ends the string, and begins what it begins elsewhere.
                self.state = State::Escape;
                return self.read(c, shown);
            }
            _ if self.length > STRING => State::Text,
            _ => State::Quoted,
        };
    }

    fn begins_control(&mut self) {
        self.parameters.clear();
        self.state = State::Control;
    }

    fn begins_string(&mut self) {
        self.length = 0;
        self.left_out += 1;
        self.state = State::Quoted;
    }

    fn escape(&mut self, c: char, shown: &mut String) {
        self.state = State::Text;
        match c {
            '[' => self.begins_control(),
            ']' | 'P' | 'X' | '^' | '_' => self.begins_string(),
            ' '..='/' => self.state = State::Intermediate(c),
            // Cursor kept and restored, lines up and down, a tab stop.
            '7' | '8' | 'D' | 'E' | 'M' | 'H' => shown.extend(['\u{1b}', c]),
            // A reset would also forget settings of the terminal that are its user's.
            'c' => shown.push_str(&self.again()),
            _ => self.left_out += 1,
        }
    }

    /// A character set, or the picture that adjusts a screen.
    fn designates(&mut self, first: char, c: char, shown: &mut String) {
        if (' '..='/').contains(&c) {
            // Two of them begin nothing that is known.
            self.state = State::Intermediate(' ');
            return;
        }
        self.state = State::Text;
        match (first, c) {
            ('(' | ')', '0' | 'A' | 'B') | ('#', '8') => shown.extend(['\u{1b}', first, c]),
            _ => self.left_out += 1,
        }
    }

    fn control(&mut self, c: char, shown: &mut String) {
        match c {
            ' '..='?' if self.parameters.len() >= PARAMETERS => self.state = State::TooLong,
            ' '..='?' => self.parameters.push(c),
            '@'..='~' => {
                let is_known = self.state == State::Control && self.ends_control(c, shown);
                self.left_out += u64::from(!is_known);
                self.state = State::Text;
            }
            // No sequence has such a character: it is text again.
            _ => {
                self.left_out += 1;
                self.state = State::Text;
                shown.push(c);
            }
        }
    }

    /// Lets the control sequence pass if it is on the list.
    fn ends_control(&mut self, last: char, shown: &mut String) -> bool {
        if let Some(modes) = self.parameters.strip_prefix('?') {
            let passing: Vec<&str> = modes.split(';').filter(|mode| MODES.contains(mode)).collect();
            if passing.is_empty() || !matches!(last, 'h' | 'l') {
                return false;
            }
            if passing.iter().any(|mode| ALTERNATE.contains(mode)) {
                self.is_alternate = last == 'h';
            }
            push_control(shown, &format!("?{}", passing.join(";")), last);
            return passing.len() == modes.split(';').count();
        }
        let passes = changes_the_picture(&self.parameters, last);
        if passes {
            push_control(shown, &self.parameters, last);
        }
        passes
    }
}

fn push_control(shown: &mut String, parameters: &str, last: char) {
    shown.push_str("\x1b[");
    shown.push_str(parameters);
    shown.push(last);
}

/// Whether a control sequence without a prefix changes the picture alone. What asks the terminal for an answer is not among them, nor what
/// prints, moves windows, or clears what has scrolled out.
fn changes_the_picture(parameters: &str, last: char) -> bool {
    let mut numbers = parameters.split([';', ':']);
    // A larger number has no use, and one of them repeats a character.
    if !numbers.all(|number| number.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    match last {
        // Cursor, lines and characters; colours; tabs and margins.
        '@'..='I' | 'L' | 'M' | 'P' | 'S' | 'X' | 'Z' | '`' | 'a' | 'b' | 'd'..='g' | 'm' | 'r' => true,
        'J' | 'K' => matches!(parameters, "" | "0" | "1" | "2"),
        // With more numbers it follows the mouse.
        'T' => !parameters.contains([';', ':']),
        // Inserting. Others lock the keyboard.
        'h' | 'l' => parameters == "4",
        's' | 'u' => parameters.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
