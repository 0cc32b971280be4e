//! Settings from the environment: read, parse, collect mistakes, redact.
//!
//! Every read registers one [`Setting`], so that the table in `docs/settings.md` can be compared with the code. A mistake does
//! not stop the reading: [`Env::finish`] reports all of them together, and the process ends with code 64.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Where settings come from, and what has been asked for so far.
#[derive(Debug)]
pub struct Env {
    values: HashMap<String, String>,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    settings: BTreeMap<&'static str, Setting>,
    mistakes: Vec<String>,
}

/// One setting as the code asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What its value looks like, for people.
    pub shape: &'static str,
    /// The value that holds when the variable is not set; empty when there is none.
    pub default: String,
    /// The value in force; `(set)` in place of a secret.
    pub value: String,
}

/// All mistakes in the settings, one a line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the configuration has {} mistake(s):\n  {}", .0.len(), .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Env {
    /// The settings of this process.
    pub fn process() -> Self {
        Self::from_map(std::env::vars().collect())
    }

    /// Settings from pairs, for tests and for tools that set what they start.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_map(pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// This process's settings with some of them replaced.
    pub fn process_with(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut values: HashMap<_, _> = std::env::vars().collect();
        values.extend(pairs);
        Self::from_map(values)
    }

    fn from_map(values: HashMap<String, String>) -> Self {
        Self { values, asked: Mutex::default() }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty variable counts as not set.
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn note(&self, name: &'static str, shape: &'static str, default: &str, value: &str) {
        let setting = Setting { name, shape, default: default.to_owned(), value: value.to_owned() };
        self.asked().settings.insert(name, setting);
    }

    /// Whether the variable is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A text with a default.
    pub fn text(&self, name: &'static str, default: &str) -> String {
        let value = self.get(name).unwrap_or(default).to_owned();
        self.note(name, "text", default, &value);
        value
    }

    /// A text that may be absent.
    pub fn optional(&self, name: &'static str) -> Option<String> {
        let value = self.get(name).map(str::to_owned);
        self.note(name, "text, optional", "", value.as_deref().unwrap_or_default());
        value
    }

    /// A text that never appears in a log.
    pub fn secret(&self, name: &'static str) -> Option<String> {
        let value = self.get(name).map(str::to_owned);
        self.note(name, "secret text, optional", "", if value.is_some() { "(set)" } else { "" });
        value
    }

    /// A value with a shape. A mistake is recorded, and the default is returned so that reading goes on.
    pub fn parsed<T>(&self, name: &'static str, shape: &'static str, default: &str) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.get(name).unwrap_or(default);
        self.note(name, shape, default, text);
        match text.parse() {
            Ok(value) => value,
            Err(error) => {
                self.mistake(name, &format!("`{text}` is not {shape} ({error}); example: {default}"));
                let Ok(value) = default.parse() else {
                    unreachable!("the default of a setting has the shape of the setting")
                };
                value
            }
        }
    }

    /// A duration in whole milliseconds.
    pub fn duration_ms(&self, name: &'static str, default_ms: u64) -> Duration {
        Duration::from_millis(self.parsed(name, "milliseconds as a whole number", &default_ms.to_string()))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &'static str, default: bool) -> bool {
        self.parsed(name, "true or false", if default { "true" } else { "false" })
    }

    /// Records a mistake that only shows when several settings are read together.
    pub fn mistake(&self, name: &str, what: &str) {
        let mistake = format!("{name}: {what}");
        let mistakes = &mut self.asked().mistakes;
        // Several services may read the same setting.
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }

    /// All mistakes at once, or nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with one line a mistake.
    pub fn finish(&self) -> Result<(), ConfigError> {
        let asked = self.asked();
        if asked.mistakes.is_empty() { Ok(()) } else { Err(ConfigError(asked.mistakes.clone())) }
    }

    /// Every setting that was asked for, by name.
    pub fn table(&self) -> Vec<Setting> {
        self.asked().settings.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_together() {
        let env = Env::from_pairs([("PORT", "http"), ("WAIT_MS", "soon"), ("GOOD", "7")]);
        assert_eq!(env.parsed::<u16>("PORT", "a port number", "5080"), 5080);
        assert_eq!(env.duration_ms("WAIT_MS", 20), Duration::from_millis(20));
        assert_eq!(env.parsed::<u8>("GOOD", "a number", "1"), 7);
        let ConfigError(mistakes) = env.finish().unwrap_err();
        assert_eq!(mistakes.len(), 2);
        assert!(mistakes[0].starts_with("PORT: `http` is not a port number"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let env = Env::from_pairs([("KEY", "hush")]);
        assert_eq!(env.secret("KEY").as_deref(), Some("hush"));
        assert!(!format!("{:?}", env.table()).contains("hush"));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let env = Env::from_pairs([("NAME", "  ")]);
        assert_eq!(env.text("NAME", "fallback"), "fallback");
        assert_eq!(env.optional("NAME"), None);
    }
}
