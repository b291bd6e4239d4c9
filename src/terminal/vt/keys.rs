//! Keyboard modes that programs have pushed (kitty's protocol).

use alacritty_terminal::vte::ansi::{KeyboardModes, KeyboardModesApplyBehavior};

/// Modes a program may push: more is a program that forgets to pop.
const STACK_MAX: usize = 32;

/// Of the screen that is shown and of the other one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Keys {
    pub(super) stack: Vec<KeyboardModes>,
    pub(super) other: Vec<KeyboardModes>,
    /// In force.
    pub(super) flags: KeyboardModes,
}

impl Keys {
    /// The other screen is shown.
    pub(super) fn swap(&mut self) {
        std::mem::swap(&mut self.stack, &mut self.other);
        self.top();
    }

    fn top(&mut self) {
        self.flags = self.stack.last().copied().unwrap_or_default();
    }

    pub(super) fn push(&mut self, modes: KeyboardModes) {
        if self.stack.len() == STACK_MAX {
            self.stack.remove(0);
        }
        self.stack.push(modes);
        self.top();
    }

    pub(super) fn pop(&mut self, n: usize) {
        self.stack.truncate(self.stack.len().saturating_sub(n));
        self.top();
    }

    pub(super) fn set(&mut self, modes: KeyboardModes, how: KeyboardModesApplyBehavior) {
        self.flags = match how {
            KeyboardModesApplyBehavior::Replace => modes,
            KeyboardModesApplyBehavior::Union => self.flags | modes,
            KeyboardModesApplyBehavior::Difference => self.flags - modes,
        };
    }
}
