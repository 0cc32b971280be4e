//! All that is wrong with a request at once: each check goes on with a default where it failed, and the end tells everything.

use crate::error::Refusal;

/// What was wrong so far, as (parameter, message).
#[derive(Debug, Default)]
pub struct Checks(Vec<(String, String)>);

impl Checks {
    /// Notes something that is wrong.
    pub fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.0.push((name.to_owned(), message.into()));
    }

    /// The value of a check, or its default where the request is wrong.
    ///
    /// # Errors
    /// Any refusal that is not about the request's form.
    pub fn of<T: Default>(&mut self, checked: Result<T, Refusal>) -> Result<T, Refusal> {
        match checked {
            Err(Refusal::Wrong(wrong)) => {
                self.0.extend(wrong);
                Ok(T::default())
            }
            other => other,
        }
    }

    /// The end of the checks.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] with all that was wrong.
    pub fn done(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Wrong(self.0)) }
    }
}
