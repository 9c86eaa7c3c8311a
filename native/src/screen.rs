//! The terminal while a live view uses it.

use crossterm::cursor;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::execute;
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};
use std::io::{self, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `true` while this program controls the terminal. Global because there is one terminal, and a
/// panic on any thread has to restore it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode and on its alternate screen, from [`Screen::enter`] until it is
/// dropped.
///
/// A panic on any thread restores the terminal first, so that its message can be read. If the
/// program continues, the next [`show`](Self::show) takes the terminal again. In raw mode ctrl-c is
/// a key, not a signal: poll [`wants_quit`](Self::wants_quit).
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    colour: bool,
}

impl Screen {
    /// Takes the terminal of standard output. Colour is used unless `NO_COLOR` is set and not
    /// empty.
    ///
    /// # Errors
    /// If there is no terminal to read keys from, or its mode can't be changed. The terminal is
    /// then restored, and the caller can print log lines instead.
    pub fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                previous(info);
            }));
        });
        take()?;
        let terminal =
            Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| give_back())?;
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Self { terminal, colour })
    }

    /// Shows one frame. `draw` fills it; its flag is `false` if it must use bold text instead of
    /// colour.
    ///
    /// # Errors
    /// If writing to the terminal fails.
    pub fn show(&mut self, draw: impl FnOnce(&mut Frame<'_>, bool)) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            take()?;
            // A new `Terminal` assumes an empty screen. `Terminal::clear` would ask the terminal
            // for the cursor's position and wait for an answer that may not come.
            self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        }
        self.terminal.draw(|frame| draw(frame, self.colour))?;
        Ok(())
    }

    /// Returns `true` if q or ctrl-c was pressed, either of which ends the view. Does not wait; it
    /// should be polled about ten times a second.
    ///
    /// # Errors
    /// If reading from the terminal fails.
    pub fn wants_quit(&mut self) -> io::Result<bool> {
        self.pressed(|_| {})
    }

    /// As [`Self::wants_quit`], and passes each other key with a character to `press`, in lower
    /// case. Keys after the one that quits are left.
    ///
    /// # Errors
    /// If reading from the terminal fails.
    pub fn pressed(&mut self, mut press: impl FnMut(char)) -> io::Result<bool> {
        while event::poll(Duration::ZERO)? {
            let event = event::read()?;
            if is_quit(&event) {
                return Ok(true);
            }
            if let Some(key) = character(&event) {
                press(key);
            }
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn is_quit(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let quits = match key.code {
        KeyCode::Char('c' | 'C') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q' | 'Q') => true,
        _ => false,
    };
    quits && key.kind != KeyEventKind::Release
}

/// Returns the character of a key that was pressed without ctrl and alt.
fn character(event: &Event) -> Option<char> {
    let Event::Key(key) = event else { return None };
    let is_plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match key.code {
        KeyCode::Char(character) if is_plain && key.kind == KeyEventKind::Press => {
            Some(character.to_ascii_lowercase())
        }
        _ => None,
    }
}

fn take() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide).inspect_err(|_| give_back())
}

/// Restores the terminal; only the first call has an effect. Errors are ignored: the terminal no
/// longer exists then.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = leave(&mut io::stdout());
        let _ = terminal::disable_raw_mode();
    }
}

fn leave(out: &mut impl Write) -> io::Result<()> {
    execute!(out, LeaveAlternateScreen, cursor::Show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyEvent;

    fn key(code: char, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(code), modifiers))
    }

    #[test]
    fn only_q_and_ctrl_c_quit() {
        for quits in [
            key('q', KeyModifiers::NONE),
            key('Q', KeyModifiers::SHIFT),
            key('c', KeyModifiers::CONTROL),
        ] {
            assert!(is_quit(&quits), "{quits:?}");
        }
        for other in
            [key('c', KeyModifiers::NONE), key('x', KeyModifiers::CONTROL), Event::Resize(80, 24)]
        {
            assert!(!is_quit(&other), "{other:?}");
        }
    }

    #[test]
    fn a_key_is_a_character_in_lower_case() {
        assert_eq!(character(&key('r', KeyModifiers::NONE)), Some('r'));
        assert_eq!(character(&key('R', KeyModifiers::SHIFT)), Some('r'));
        for modifiers in [KeyModifiers::CONTROL, KeyModifiers::ALT] {
            assert_eq!(character(&key('r', modifiers)), None);
        }
        assert_eq!(character(&Event::Resize(80, 24)), None);
    }

    #[test]
    fn leaving_restores_the_screen_and_the_cursor() {
        let mut out = Vec::new();
        leave(&mut out).unwrap();
        assert_eq!(out, b"\x1b[?1049l\x1b[?25h");
    }
}
