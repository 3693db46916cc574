//! What a section of the file looks like, written once: [`sections`] makes of one definition the
//! struct that is read and the [`Table`] that the schema, the reference and the example are made of.

use std::ops::{Deref, Range};

use serde::{Deserialize, Deserializer};

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub struct At<T> {
    value: T,
    bytes: Range<usize>,
}

impl<T> At<T> {
    /// The bytes of the file that it was read from.
    pub fn bytes(&self) -> Range<usize> {
        self.bytes.clone()
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<At<T>, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(At { bytes: spanned.span(), value: spanned.into_inner() })
    }
}

/// What a value looks like.
#[derive(Clone, Debug)]
pub enum Form {
    /// Text.
    Text,
    /// A whole number from 0.
    Number,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several values.
    List(Box<Form>),
    /// Keys with values.
    Table(Table),
    /// Names of any kind, each with a text.
    Texts,
    /// One of these.
    Either(Vec<Form>),
}

/// Keys with values.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it is for.
    pub about: String,
    /// Its keys, in the order in which they are to be shown.
    pub keys: Vec<Key>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: String,
    /// Whether it must be there.
    pub is_required: bool,
    /// What its value looks like.
    pub form: Form,
    /// A value as the example shows it; empty for tables and lists of tables.
    pub example: &'static str,
}

/// What has a form.
pub trait Shape {
    /// Whether a key of this type must be there.
    const IS_REQUIRED: bool = true;
    /// The form.
    fn form() -> Form;
}

impl<T: Shape> Shape for At<T> {
    fn form() -> Form {
        T::form()
    }
}

impl<T: Shape> Shape for Option<T> {
    const IS_REQUIRED: bool = false;
    fn form() -> Form {
        T::form()
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn form() -> Form {
        Form::List(Box::new(T::form()))
    }
}

impl Shape for String {
    fn form() -> Form {
        Form::Text
    }
}

impl Shape for u32 {
    fn form() -> Form {
        Form::Number
    }
}

impl Shape for bool {
    fn form() -> Form {
        Form::Flag
    }
}

/// The lines of a documentation comment as one text.
pub fn about(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Defines sections: each field's documentation is what the reference says of the key, and the text
/// after `=` its value in the example.
macro_rules! sections {
    ($(
        $(#[doc = $about:literal])+
        $name:ident { $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $example:literal; )+ }
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $type, )+ }

        impl $crate::estate::shape::Shape for $name {
            fn form() -> $crate::estate::shape::Form {
                use $crate::estate::shape::{Form, Key, Table, about};
                Form::Table(Table {
                    about: about(&[$($about),+]),
                    keys: vec![$(Key {
                        name: stringify!($field).trim_start_matches("r#"),
                        about: about(&[$($doc),+]),
                        is_required: <$type>::IS_REQUIRED,
                        form: <$type>::form(),
                        example: $example,
                    }),+],
                })
            }
        }
    )+};
}
pub(super) use sections;
