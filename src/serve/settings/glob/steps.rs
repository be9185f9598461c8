//! A glob as steps that are taken along a name, all ways at once.
//!
//! The time it takes is that of the glob's length times the name's, whatever either says. All
//! jumps lead forward, so one pass over the steps finds every one that is reached without a
//! further character.

use std::iter::Peekable;
use std::str::Chars;

/// The steps of one glob, in its order.
#[derive(Clone)]
pub(super) struct Steps(Vec<Step>);

#[derive(Clone)]
enum Step {
    /// Takes one character of these.
    One(Set),
    /// Takes any number of characters of these.
    Many(Set),
    /// Goes on behind here, and also this many steps ahead.
    Or(usize),
    /// Goes on this many steps ahead only.
    Ahead(usize),
}

#[derive(Clone)]
enum Set {
    This(char),
    /// All but `/`.
    InPart,
    Any,
    /// All in these ranges, or all that are in none; never `/`, which parts are told apart by.
    Listed {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Set {
    fn has(&self, c: char) -> bool {
        match self {
            Set::This(this) => c == *this,
            Set::InPart => c != '/',
            Set::Any => true,
            Set::Listed { is_negated, ranges } => {
                c != '/' && ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *is_negated
            }
        }
    }
}

impl Steps {
    /// Reads a glob.
    ///
    /// # Errors
    ///
    /// Why it is none, in words.
    pub(super) fn of(glob: &str) -> Result<Steps, &'static str> {
        let mut reader = Reader { rest: glob.chars().peekable() };
        let steps = reader.sequence(0)?;
        if reader.rest.next().is_some() { Err("one of its `}` has no `{`") } else { Ok(Steps(steps)) }
    }

    /// Whether the steps lead from the beginning of `name` to its end.
    pub(super) fn lead_through(&self, name: &str) -> bool {
        let Steps(steps) = self;
        let (mut here, mut next) = (vec![false; steps.len() + 1], vec![false; steps.len() + 1]);
        here[0] = true;
        self.jump(&mut here);
        for c in name.chars() {
            next.fill(false);
            for (place, step) in steps.iter().enumerate().filter(|(place, _)| here[*place]) {
                match step {
                    Step::One(set) => next[place + 1] |= set.has(c),
                    Step::Many(set) => next[place] |= set.has(c),
                    Step::Or(_) | Step::Ahead(_) => {}
                }
            }
            self.jump(&mut next);
            std::mem::swap(&mut here, &mut next);
        }
        here[steps.len()]
    }

    /// Adds the places that are reached without taking a character.
    fn jump(&self, places: &mut [bool]) {
        for (place, step) in self.0.iter().enumerate() {
            if places[place] {
                match step {
                    Step::One(_) => {}
                    Step::Many(_) => places[place + 1] = true,
                    Step::Or(ahead) => (places[place + 1], places[place + ahead]) = (true, true),
                    Step::Ahead(ahead) => places[place + ahead] = true,
                }
            }
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    /// The steps up to the end of the glob or, within so many choices, of an alternative.
    fn sequence(&mut self, choices: u32) -> Result<Vec<Step>, &'static str> {
        let mut steps = Vec::new();
        let mut begins_part = true;
        while let Some(c) = self.rest.next_if(|c| *c != '}' && (*c != ',' || choices == 0)) {
            match c {
                '?' => steps.push(Step::One(Set::InPart)),
                '*' => {
                    let is_double = self.rest.next_if_eq(&'*').is_some();
                    if is_double && begins_part {
                        begins_part = self.parts(choices, &mut steps);
                        continue;
                    }
                    steps.push(Step::Many(Set::InPart));
                }
                '[' => steps.push(Step::One(self.class()?)),
                '{' => steps.extend(self.choice(choices + 1)?),
                '\\' => steps.push(Step::One(Set::This(self.rest.next().ok_or("nothing follows its last `\\`")?))),
                c => steps.push(Step::One(Set::This(c))),
            }
            begins_part = c == '/';
        }
        Ok(steps)
    }

    /// What follows `**` at the beginning of a part; whether a part begins behind it.
    ///
    /// It is any number of parts where it is all of its own, and where an alternative ends with it.
    /// An alternative that is nothing else may continue what is before the choice: there it is `*`.
    fn parts(&mut self, choices: u32, steps: &mut Vec<Step>) -> bool {
        match self.rest.peek() {
            Some('/') => {
                self.rest.next();
                steps.extend([Step::Or(3), Step::Many(Set::Any), Step::One(Set::This('/'))]);
                return true;
            }
            None => steps.push(Step::Many(Set::Any)),
            Some(',' | '}') if choices > 0 && !steps.is_empty() => steps.push(Step::Many(Set::Any)),
            Some(_) => steps.push(Step::Many(Set::InPart)),
        }
        false
    }

    /// What is behind `{`, up to its `}`. An alternative of nothing does not count.
    fn choice(&mut self, choices: u32) -> Result<Vec<Step>, &'static str> {
        let mut alternatives = Vec::new();
        loop {
            alternatives.push(self.sequence(choices)?);
            match self.rest.next() {
                Some('}') => break,
                Some(_) => {}
                None => return Err("one of its `{` has no `}`"),
            }
        }
        alternatives.retain(|alternative| !alternative.is_empty());
        let mut steps = alternatives.pop().unwrap_or_default();
        while let Some(alternative) = alternatives.pop() {
            let (this, others) = (alternative.len(), steps.len());
            let or = [Step::Or(this + 2)].into_iter().chain(alternative).chain([Step::Ahead(others + 1)]);
            steps = or.chain(steps).collect();
        }
        Ok(steps)
    }

    /// What is behind `[`, up to its `]`, which may also be the first that is listed.
    fn class(&mut self) -> Result<Set, &'static str> {
        let is_negated = self.rest.next_if(|c| matches!(c, '!' | '^')).is_some();
        let mut ranges = Vec::new();
        loop {
            let first = self.rest.next().ok_or("one of its `[` has no `]`")?;
            if first == ']' && !ranges.is_empty() {
                return Ok(Set::Listed { is_negated, ranges });
            }
            let mut ahead = self.rest.clone();
            let last = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(last)) if last != ']' => {
                    self.rest = ahead;
                    last
                }
                _ => first,
            };
            if last < first {
                return Err("one of its ranges ends before it begins");
            }
            ranges.push((first, last));
        }
    }
}
