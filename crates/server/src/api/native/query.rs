//! Query parameters, each of which must be known: a filter that was misspelled would otherwise
//! widen an answer in silence.

use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// The parameters of a request that were not asked for yet.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From the part of the request target after `?`; form-encoded, so that `+` is a space.
    pub fn parse(text: &str) -> Result<Query, Problem> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name =
                decode(name).ok_or_else(|| Problem::invalid_parameter("the query", "not UTF-8"))?;
            let value =
                decode(value).ok_or_else(|| Problem::invalid_parameter(&name, "not UTF-8"))?;
            Ok((name, value))
        });
        pairs.collect::<Result<_, _>>().map(Query)
    }

    /// These parameters.
    pub fn of<'a>(parameters: impl Iterator<Item = (&'a str, String)>) -> Query {
        Query(parameters.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The parameters that are left, in their order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Takes every value of a parameter.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(known, _)| known == name);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes every parameter whose name begins so; their names without it.
    pub fn all_beginning(&mut self, beginning: &str) -> Vec<(String, String)> {
        let taken = self.0.extract_if(.., |(known, _)| known.starts_with(beginning));
        taken.map(|(name, value)| (name[beginning.len()..].to_owned(), value)).collect()
    }

    /// Takes the value of a parameter that may be given once.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::invalid_parameter(name, "given more than once")),
        }
    }

    /// Takes a parameter and reads it.
    pub fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let read = read(&value).ok_or_else(|| Problem::invalid_parameter(name, expected))?;
        Ok(Some(read))
    }

    /// Takes a number within bounds.
    pub fn number(
        &mut self,
        name: &str,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, Problem> {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        self.read(name, &expected, |text| {
            let is_plain = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|number| is_plain && bounds.contains(number))
        })
    }

    /// Refuses what was not asked for.
    pub fn finish(&self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).take(10).collect();
        Err(Problem::unknown_parameters(&names))
    }
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_none_is_left() {
        let mut query = Query::parse("a=1&b=x%20y+z&a=2&&n=07&c").expect("readable");
        assert_eq!(query.all("a"), ["1", "2"]);
        assert_eq!(query.one("b"), Ok(Some("x y z".into())));
        assert_eq!(query.number("n", 0..=9), Ok(Some(7)));
        assert_eq!(query.one("absent"), Ok(None));
        assert_eq!(query.finish(), Err(Problem::unknown_parameters(&["c"])));
        assert_eq!(query.one("c"), Ok(Some(String::new())));
        assert_eq!(query.finish(), Ok(()));
        assert!(Query::parse("a=%FF").is_err() && Query::parse("%FF=a").is_err());
        let mut query = Query::parse("a=1&a=2&n=10&m=+1").expect("readable");
        assert!(query.one("a").is_err());
        assert!(query.number("n", 0..=9).is_err() && query.number("m", 0..=9).is_err());
    }
}
