//! Query parameters: reading them, and the ones that many operations share.

use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::render::Style;

/// A query string taken apart. Unknown parameters are ignored; of a repeated one the first counts,
/// as in JAX-RS, which Atlas is written with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From the part of the request target after `?`.
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The value of a parameter. An empty value is a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A boolean. Python's `requests` writes `True`, everyone else `true`.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid_query_parameter(name)),
        }
    }

    /// A number within bounds, written in plain digits.
    pub fn number(
        &self,
        name: &'static str,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let is_plain = value.bytes().all(|b| b.is_ascii_digit());
        let number = value.parse().ok().filter(|number| is_plain && bounds.contains(number));
        number.map(Some).ok_or_else(|| ApiError::invalid_query_parameter(name))
    }

    /// How the answer shall look, as far as that can be read.
    pub fn style(&self) -> Style {
        let is_on = |name| self.boolean(name).ok().flatten().unwrap_or(false);
        Style { pretty: is_on("pretty"), envelope: is_on("envelope") }
    }

    /// Refuses a style that cannot be read.
    pub fn check_style(&self) -> Result<(), ApiError> {
        self.boolean("pretty")?;
        self.boolean("envelope")?;
        Ok(())
    }
}

/// Names and values are form-encoded: `+` is a space. What is not UTF-8 shows as U+FFFD, and is
/// then no valid value of any parameter.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Which part of a list is wanted. The access history has no pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1.
    pub page: usize,
    /// At most 500.
    pub items_per_page: usize,
    /// Whether `totalCount` is wanted.
    pub include_count: bool,
}

impl Paging {
    /// Reads `pageNum`, `itemsPerPage` and `includeCount`; defaults as in the recorded self links.
    pub fn parse(query: &Query) -> Result<Paging, ApiError> {
        Ok(Paging {
            page: query.number("pageNum", 1..=1_000_000)?.unwrap_or(1),
            items_per_page: query.number("itemsPerPage", 1..=500)?.unwrap_or(100),
            include_count: query.boolean("includeCount")?.unwrap_or(true),
        })
    }

    /// The items of this page.
    pub fn cut<T>(self, items: Vec<T>) -> Vec<T> {
        let before = (self.page - 1).saturating_mul(self.items_per_page);
        items.into_iter().skip(before).take(self.items_per_page).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_clients_write_them() {
        let query = Query::parse("a=1&a=2&b&c=x%20y+z&%64=%FF&&e=True&f=yes&n=07&m=-1");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some(""));
        assert_eq!(query.get("c"), Some("x y z"));
        assert_eq!(query.get("d"), Some("\u{fffd}"));
        assert_eq!(query.get("z"), None);
        assert_eq!(query.boolean("e"), Ok(Some(true)));
        assert_eq!(query.boolean("f"), Err(ApiError::invalid_query_parameter("f")));
        assert_eq!(query.boolean("b"), Err(ApiError::invalid_query_parameter("b")));
        assert_eq!(query.number("n", 0..=9), Ok(Some(7)));
        for bad in ["m", "b", "c"] {
            let error = ApiError::invalid_query_parameter(bad);
            assert_eq!(query.number(bad, 0..=9), Err(error));
        }
    }

    #[test]
    fn pages_cover_a_list_once() {
        let query = |page: usize| Query::parse(&format!("pageNum={page}&itemsPerPage=2"));
        let page = |n| Paging::parse(&query(n)).expect("valid").cut(vec![1, 2, 3]);
        assert_eq!((page(1), page(2), page(3)), (vec![1, 2], vec![3], vec![]));
        for bad in ["pageNum=0", "itemsPerPage=501", "includeCount=2"] {
            assert!(Paging::parse(&Query::parse(bad)).is_err(), "{bad}");
        }
    }
}
