//! Reads conditions from text. What they mean is the parent's.

use crate::event::{Canonical, OwnNames};
use crate::limits::{SELECTION_BYTES_MAX, SELECTION_TERMS_MAX};
use crate::query::parse_time;
use crate::time::Timestamp;

use super::{Field, Literal, Term, Test, number};

/// A text that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct SyntaxError {
    /// The character, counted from one.
    pub at: usize,
    /// What was expected there.
    pub what: String,
}

/// Operators, the longer before those they begin with.
const TESTS: [(&str, Test); 7] = [
    ("!=", Test::NotEqual),
    ("<=", Test::LessOrEqual),
    (">=", Test::GreaterOrEqual),
    ("^=", Test::StartsWith),
    ("=", Test::Equal),
    ("<", Test::Less),
    (">", Test::Greater),
];

/// Reads all conditions on events of a stream with these names.
pub(super) fn terms(text: &str, now: Timestamp, names: &OwnNames) -> Result<Vec<Term>, SyntaxError> {
    let mut reader = Reader { text, at: 0, now, names };
    if text.len() > SELECTION_BYTES_MAX {
        return Err(reader.fault(format!("the conditions have more than {SELECTION_BYTES_MAX} bytes")));
    }
    let mut terms = Vec::new();
    reader.pass_blanks();
    while !reader.rest().is_empty() {
        if !terms.is_empty() {
            reader.word("and").ok_or_else(|| reader.fault("expected `and` or the end"))?;
            reader.pass_blanks();
        }
        if terms.len() == SELECTION_TERMS_MAX {
            return Err(reader.fault(format!("there are more than {SELECTION_TERMS_MAX} conditions")));
        }
        terms.push(reader.term()?);
        reader.pass_blanks();
    }
    Ok(terms)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    now: Timestamp,
    names: &'a OwnNames,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fault(&self, what: impl Into<String>) -> SyntaxError {
        self.fault_at(self.at, what)
    }

    fn fault_at(&self, at: usize, what: impl Into<String>) -> SyntaxError {
        SyntaxError { at: self.text[..at].chars().count() + 1, what: what.into() }
    }

    fn pass_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, wanted: &str) -> Option<()> {
        self.rest().starts_with(wanted).then(|| self.at += wanted.len())
    }

    /// Takes a word of the language, in any case.
    fn word(&mut self, wanted: &str) -> Option<()> {
        let found = self.rest().get(..wanted.len()).filter(|found| found.eq_ignore_ascii_case(wanted))?;
        let is_whole = !self.rest()[found.len()..].starts_with(is_of_name);
        is_whole.then(|| self.at += wanted.len())
    }

    fn term(&mut self) -> Result<Term, SyntaxError> {
        let field = self.field()?;
        self.pass_blanks();
        let at = self.at;
        let test = self.test()?;
        self.pass_blanks();
        let values = match test {
            Some(test) => {
                let is_text =
                    !matches!(field, Field::Timestamp | Field::ReceivedAt | Field::Partition | Field::Offset);
                if test == Test::StartsWith && !is_text {
                    return Err(self.fault_at(at, "only a text is compared by its beginning"));
                }
                vec![self.value(&field)?]
            }
            None => self.list(&field)?,
        };
        let test = test.unwrap_or(Test::Equal);
        if test == Test::StartsWith && !matches!(values[..], [Literal::Text(_)]) {
            return Err(self.fault_at(at, "a beginning is a text in quotes"));
        }
        Ok(Term { field, test, values })
    }

    fn field(&mut self) -> Result<Field, SyntaxError> {
        let rest = self.rest();
        let length = rest.find(|character| !is_of_name(character)).unwrap_or(rest.len());
        let name = &rest[..length];
        let is_name = name.starts_with(|first: char| first.is_alphabetic() || matches!(first, '_' | '$'));
        if !is_name {
            let what = "expected a member, such as user_id, timestamp or properties.plan";
            return Err(self.fault(what));
        }
        let property = |name: &str| {
            let path: Vec<String> = name.split('.').map(str::to_owned).collect();
            let is_sound = path.iter().all(|step| !step.is_empty());
            is_sound.then(|| Field::Property { name: name.to_owned(), path })
        };
        let properties = self.names.name(Canonical::Properties);
        let in_properties = |name: &'a str| {
            let within = [Canonical::Properties.name(), properties].map(|object| name.strip_prefix(object));
            within.into_iter().flatten().find_map(|rest| rest.strip_prefix('.'))
        };
        let field = match (name, self.names.meaning(name)) {
            ("stream", _) => Some(Field::Stream),
            ("partition", _) => Some(Field::Partition),
            ("offset", _) => Some(Field::Offset),
            ("received_at", _) => Some(Field::ReceivedAt),
            (_, Some(Canonical::EventId)) => Some(Field::EventId),
            (_, Some(Canonical::EventType)) => Some(Field::EventType),
            (_, Some(Canonical::UserId)) => Some(Field::UserId),
            (_, Some(Canonical::SessionId)) => Some(Field::SessionId),
            (_, Some(Canonical::Timestamp)) => Some(Field::Timestamp),
            (_, Some(Canonical::Properties)) => None,
            (name, None) => property(in_properties(name).unwrap_or(name)),
        };
        let field = field.ok_or_else(|| self.fault(format!("a property is {properties}.NAME")))?;
        self.at += length;
        Ok(field)
    }

    /// Takes an operator; `None` stands for `in`.
    fn test(&mut self) -> Result<Option<Test>, SyntaxError> {
        if self.word("in").is_some() {
            return Ok(None);
        }
        for (sign, test) in TESTS {
            if self.take(sign).is_some() {
                return Ok(Some(test));
            }
        }
        Err(self.fault("expected =, !=, <, <=, >, >=, ^= or in"))
    }

    fn list(&mut self, field: &Field) -> Result<Vec<Literal>, SyntaxError> {
        self.take("(").ok_or_else(|| self.fault("expected ( behind in"))?;
        let mut values = Vec::new();
        loop {
            self.pass_blanks();
            values.push(self.value(field)?);
            self.pass_blanks();
            if self.take(")").is_some() {
                return Ok(values);
            }
            self.take(",").ok_or_else(|| self.fault("expected , or )"))?;
        }
    }

    /// Takes a value and reads it as its field is.
    fn value(&mut self, field: &Field) -> Result<Literal, SyntaxError> {
        let at = self.at;
        let literal = self.literal()?;
        let text = match &literal {
            Literal::Text(text) | Literal::Number(text) => text.clone(),
            Literal::Bool(value) => value.to_string(),
            Literal::Time(time) => time.to_string(),
        };
        match field {
            Field::Property { .. } => Ok(literal),
            Field::Timestamp | Field::ReceivedAt => {
                let time = parse_time(&text, self.now).map_err(|_| {
                    self.fault_at(at, "expected a time, such as '2025-01-01T00:00:00Z' or '-1h'")
                });
                time.map(Literal::Time)
            }
            Field::Partition | Field::Offset => match text.parse::<u64>() {
                Ok(_) => Ok(Literal::Number(text)),
                Err(_) => Err(self.fault_at(at, "expected a whole number")),
            },
            // An id may look like a number, and is a text all the same.
            _ => match literal {
                Literal::Text(text) | Literal::Number(text) => Ok(Literal::Text(text)),
                _ => Err(self.fault_at(at, "expected a text in quotes")),
            },
        }
    }

    fn literal(&mut self) -> Result<Literal, SyntaxError> {
        for (word, value) in [("true", true), ("false", false)] {
            if self.word(word).is_some() {
                return Ok(Literal::Bool(value));
            }
        }
        if let Some(quote) = self.rest().chars().next().filter(|first| matches!(first, '\'' | '"')) {
            return self.quoted(quote).map(Literal::Text);
        }
        let rest = self.rest();
        let is_of_number =
            |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '+' | '-');
        let length = rest.find(|character| !is_of_number(character)).unwrap_or(rest.len());
        let written = &rest[..length];
        if !number::is_number(written) {
            return Err(self.fault("expected a text in quotes, a number, true or false"));
        }
        self.at += length;
        Ok(Literal::Number(written.to_owned()))
    }

    /// Takes a text in quotes, in which the quote itself stands twice.
    fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let began = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let length = self.rest().find(quote);
            let length = length.ok_or_else(|| self.fault_at(began, "the text has no closing quote"))?;
            text += &self.rest()[..length];
            self.at += length + 1;
            if !self.rest().starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.at += 1;
        }
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '$' | '-')
}
