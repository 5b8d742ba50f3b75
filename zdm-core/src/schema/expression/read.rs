//! Reads the expressions that servers print.

use smol_str::SmolStr;

use super::{Expr, Function, Operator};

/// How an engine writes what its catalog shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Syntax {
    /// What stands around a name: `"` or `` ` ``.
    pub quote: char,
    /// Whether a backslash in a text makes the next character literal (`\'`).
    pub backslash: bool,
    /// Whether a double quote begins a text, and not a name.
    pub double_quoted_text: bool,
    /// Digits of a second's fraction that `now()` has.
    pub now_digits: u8,
    /// Whether `length()` counts characters, and not octets.
    pub length_of_characters: bool,
    /// Whether `concat()` of a null is null.
    pub null_concat: bool,
}

/// How deep an expression may nest before it is left unread.
const DEPTH: u8 = 64;
/// How long one may be: a chain of operators nests as well.
const TOKENS: usize = 1000;

impl Syntax {
    /// Reads an expression; `None` for one that is not plain enough to mean
    /// the same in every engine.
    pub fn read(&self, text: &str) -> Option<Expr> {
        let tokens = tokens(self, text).filter(|tokens| tokens.len() <= TOKENS)?;
        let mut reader = Reader { syntax: *self, tokens, at: 0, depth: 0 };
        let expr = reader.expression(0)?;
        (reader.at == reader.tokens.len()).then_some(expr)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word that is not quoted, in small letters.
    Word(String),
    Name(String),
    Text(String),
    Number(String),
    Bytes(Vec<u8>),
    Bits(String),
    /// An operator or a mark.
    Mark(&'static str),
}

/// Longest first.
const MARKS: [&str; 21] = [
    "!~~", "::", "<>", "!=", "<=", ">=", "||", "~~", "(", ")", "[", "]", ",", ".", "=", "<", ">", "+", "-",
    "*", ":",
];

fn tokens(syntax: &Syntax, text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted_text = first == '\'' || (first == '"' && syntax.double_quoted_text);
        if quoted_text || first == syntax.quote {
            let (content, behind) = quoted(rest, first, syntax.backslash && quoted_text)?;
            rest = behind;
            let prefix = if quoted_text { tokens.pop_if(|t| is_prefix(t)) } else { None };
            tokens.push(match prefix {
                Some(Token::Word(word)) if word == "x" => Token::Bytes(octets(&content)?),
                Some(Token::Word(word)) if word == "b" => {
                    Token::Bits(Some(content).filter(|bits| bits.bytes().all(|b| matches!(b, b'0' | b'1')))?)
                }
                Some(Token::Word(word)) if word == "e" => return None,
                _ if quoted_text => Token::Text(content),
                _ => Token::Name(content),
            });
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            let (number, behind) = rest.split_at(end);
            tokens.push(match number.strip_prefix("0x") {
                Some(digits) => Token::Bytes(octets(digits)?),
                None if number.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                    Token::Number(number.to_owned())
                }
                None => return None,
            });
            rest = behind;
        } else if first.is_alphabetic() || first == '_' {
            let end =
                rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$')).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            tokens.push(Token::Word(word.to_lowercase()));
            rest = behind;
        } else {
            let mark = MARKS.iter().find(|mark| rest.starts_with(**mark))?;
            tokens.push(Token::Mark(mark));
            rest = &rest[mark.len()..];
        }
        rest = rest.trim_start();
    }
    Some(tokens)
}

/// What may stand before a text: its character set, or what it is.
fn is_prefix(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.starts_with('_') || matches!(word.as_str(), "x" | "b" | "e" | "n"))
}

/// The content of what is quoted at the beginning of a text, and what follows.
fn quoted(text: &str, quote: char, backslash: bool) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.next_if(|(_, next)| *next == quote).is_none() {
                return Some((content, &text[at + c.len_utf8()..]));
            }
            content.push(quote);
        } else if c == '\\' && backslash {
            let (_, next) = chars.next()?;
            // In a pattern the backslash stays.
            if matches!(next, '%' | '_') {
                content.push('\\');
            }
            content.push(match next {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'b' => '\u{8}',
                'Z' => '\u{1a}',
                other => other,
            });
        } else {
            content.push(c);
        }
    }
    None
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()))
        .collect()
}

struct Reader {
    syntax: Syntax,
    tokens: Vec<Token>,
    at: usize,
    depth: u8,
}

/// How tightly an operator binds.
fn operator(token: &Token) -> Option<(u8, Operator)> {
    Some(match token {
        Token::Word(word) => match word.as_str() {
            "or" => (1, Operator::Or),
            "and" => (2, Operator::And),
            "like" => (4, Operator::Like),
            _ => return None,
        },
        Token::Mark(mark) => match *mark {
            "=" => (4, Operator::Equal),
            "<>" | "!=" => (4, Operator::NotEqual),
            "<" => (4, Operator::Less),
            "<=" => (4, Operator::LessOrEqual),
            ">" => (4, Operator::More),
            ">=" => (4, Operator::MoreOrEqual),
            "~~" => (4, Operator::Like),
            "||" => (5, Operator::Concat),
            "+" => (6, Operator::Plus),
            "-" => (6, Operator::Minus),
            "*" => (7, Operator::Times),
            _ => return None,
        },
        _ => return None,
    })
}

impl Reader {
    fn expression(&mut self, least: u8) -> Option<Expr> {
        let mut left = self.term()?;
        loop {
            if least <= 3 && self.word("is") {
                let not = self.word("not");
                if !self.word("null") {
                    return None;
                }
                left = negated(not, Expr::IsNull(Box::new(left)));
                continue;
            }
            if least <= 4 {
                let not = matches!(self.peek(1), Some(Token::Word(w)) if w == "in" || w == "between" || w == "like")
                    && self.word("not");
                if self.word("in") {
                    self.mark("(")?;
                    left = negated(not, Expr::In(Box::new(left), self.list(")")?));
                    continue;
                }
                if self.word("between") {
                    let low = self.expression(5)?;
                    if !self.word("and") {
                        return None;
                    }
                    let high = self.expression(5)?;
                    let both = Expr::Binary(
                        binary(left.clone(), Operator::MoreOrEqual, low),
                        Operator::And,
                        binary(left, Operator::LessOrEqual, high),
                    );
                    left = negated(not, both);
                    continue;
                }
                if not {
                    if !self.word("like") {
                        return None;
                    }
                    let right = self.expression(5)?;
                    left = Expr::Not(binary(left, Operator::Like, right));
                    continue;
                }
                if self.mark("!~~").is_some() {
                    let right = self.expression(5)?;
                    left = Expr::Not(binary(left, Operator::Like, right));
                    continue;
                }
            }
            let Some((binds, operator)) = self.peek(0).and_then(operator) else { break };
            if binds < least {
                break;
            }
            self.at += 1;
            // PostgreSQL shows a list as `= ANY (ARRAY[…])`.
            if operator == Operator::Equal && self.word("any") {
                left = Expr::In(Box::new(left), self.any()?);
                continue;
            }
            let right = self.expression(binds + 1)?;
            left = Expr::Binary(Box::new(left), operator, Box::new(right));
        }
        Some(left)
    }

    /// `(ARRAY[a, b])`, maybe with a cast of the array.
    fn any(&mut self) -> Option<Vec<Expr>> {
        self.mark("(")?;
        let inner = self.mark("(").is_some();
        if !self.word("array") {
            return None;
        }
        self.mark("[")?;
        let list = self.list("]")?;
        if inner {
            self.mark(")")?;
        }
        self.casts()?;
        self.mark(")")?;
        Some(list)
    }

    fn term(&mut self) -> Option<Expr> {
        self.depth += 1;
        let term = if self.depth > DEPTH { None } else { self.plain_term() };
        self.depth -= 1;
        term
    }

    fn plain_term(&mut self) -> Option<Expr> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        let expr = match token {
            Token::Mark("(") => {
                let inner = self.expression(0)?;
                self.mark(")")?;
                inner
            }
            Token::Mark("-") => match self.term()? {
                Expr::Number(number) => Expr::Number(match number.strip_prefix('-') {
                    Some(positive) => positive.to_owned(),
                    None => format!("-{number}"),
                }),
                _ => return None,
            },
            Token::Number(number) => Expr::Number(number),
            Token::Text(text) => Expr::Text(text),
            Token::Bytes(octets) => Expr::Bytes(octets),
            Token::Bits(bits) => Expr::Bits(bits),
            Token::Name(name) => self.column(SmolStr::from(name))?,
            Token::Word(word) => self.named(&word)?,
            Token::Mark(_) => return None,
        };
        let casts = self.casts()?;
        // PostgreSQL shows a negative number as `'-5'::integer`.
        let expr = match expr {
            Expr::Text(text) if casts.first().is_some_and(|cast| is_number(cast, &text)) => {
                Expr::Number(text)
            }
            other => other,
        };
        // A literal is what it is under any cast; of anything else a cast may
        // change the value, unless it is to a text or to a wider number.
        let harmless = |cast: &String| matches!(cast.as_str(), "text" | "character varying" | "numeric");
        if expr.is_literal() || casts.iter().all(harmless) { Some(expr) } else { None }
    }

    fn named(&mut self, word: &str) -> Option<Expr> {
        match word {
            "null" => return Some(Expr::Null),
            "true" => return Some(Expr::Bool(true)),
            "false" => return Some(Expr::Bool(false)),
            "not" => return Some(Expr::Not(Box::new(self.expression(3)?))),
            "current_date" | "curdate" => {
                self.empty()?;
                return Some(Expr::Call(Function::Today, Vec::new()));
            }
            "current_timestamp" | "now" | "localtimestamp" => {
                let mut digits = self.syntax.now_digits;
                if self.mark("(").is_some() && self.mark(")").is_none() {
                    let Some(Token::Number(number)) = self.tokens.get(self.at).cloned() else { return None };
                    self.at += 1;
                    self.mark(")")?;
                    digits = number.parse().ok()?;
                }
                return Some(Expr::Call(Function::Now(digits), Vec::new()));
            }
            "and" | "or" | "in" | "is" | "between" | "like" | "case" | "array" | "row" | "interval"
            | "date" | "binary" | "any" | "all" | "some" | "exists" | "select" | "cast" | "convert" => {
                return None;
            }
            _ => {}
        }
        if self.mark("(").is_none() {
            return self.column(SmolStr::from(word));
        }
        let function = match word {
            "lower" | "lcase" => Function::Lower,
            "upper" | "ucase" => Function::Upper,
            "char_length" | "character_length" => Function::Length,
            "length" if self.syntax.length_of_characters => Function::Length,
            "abs" => Function::Abs,
            "coalesce" | "ifnull" => Function::Coalesce,
            "gen_random_uuid" | "uuid_generate_v4" | "uuid" => Function::Uuid,
            "concat" if self.syntax.null_concat => {
                let mut parts = self.list(")")?.into_iter();
                let first = parts.next()?;
                return Some(
                    parts.fold(first, |a, b| Expr::Binary(Box::new(a), Operator::Concat, Box::new(b))),
                );
            }
            _ => return None,
        };
        Some(Expr::Call(function, self.list(")")?))
    }

    /// A column: a name with nothing before or behind it.
    fn column(&mut self, name: SmolStr) -> Option<Expr> {
        let plain = !matches!(self.peek(0), Some(Token::Mark("." | "(" | "[")));
        plain.then_some(Expr::Column(name))
    }

    /// Nothing, or `()`.
    fn empty(&mut self) -> Option<()> {
        if self.mark("(").is_some() { self.mark(")") } else { Some(()) }
    }

    /// Expressions up to a mark that ends them.
    fn list(&mut self, end: &'static str) -> Option<Vec<Expr>> {
        let mut list = Vec::new();
        if self.mark(end).is_some() {
            return Some(list);
        }
        loop {
            list.push(self.expression(0)?);
            if self.mark(end).is_some() {
                return Some(list);
            }
            self.mark(",")?;
        }
    }

    /// Casts behind a term, by the names of their types.
    fn casts(&mut self) -> Option<Vec<String>> {
        let mut casts = Vec::new();
        while self.mark("::").is_some() {
            let mut name = String::new();
            loop {
                match self.tokens.get(self.at) {
                    Some(Token::Word(word)) if !is_between(word) => {
                        name += if name.is_empty() || name.ends_with('.') { "" } else { " " };
                        name += word;
                    }
                    Some(Token::Name(word)) => name += word,
                    Some(Token::Mark(".")) => name.push('.'),
                    _ => break,
                }
                self.at += 1;
            }
            if self.mark("(").is_some() {
                name.push('(');
                while self.mark(")").is_none() {
                    self.tokens.get(self.at)?;
                    self.at += 1;
                }
            }
            if self.mark("[").is_some() {
                self.mark("]")?;
                name += "[]";
            }
            if name.is_empty() {
                return None;
            }
            casts.push(name);
        }
        Some(casts)
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == word);
        self.at += usize::from(is);
        is
    }

    fn mark(&mut self, mark: &'static str) -> Option<()> {
        (self.tokens.get(self.at) == Some(&Token::Mark(mark))).then(|| self.at += 1)
    }
}

/// Whether a text under a cast is a plain number of that type.
fn is_number(cast: &str, text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain =
        [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    plain && matches!(cast, "smallint" | "integer" | "bigint" | "numeric")
}

/// Words that are never part of a type's name.
fn is_between(word: &str) -> bool {
    matches!(word, "and" | "or" | "is" | "in" | "not" | "between" | "like")
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Box<Expr> {
    Box::new(Expr::Binary(Box::new(left), operator, Box::new(right)))
}

fn negated(not: bool, expr: Expr) -> Expr {
    if not { Expr::Not(Box::new(expr)) } else { expr }
}
