//! Translation of `over (...)`.

use sqlparser::ast::{
    Expr, NamedWindowExpr, Value as Constant, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowSpec, WindowType,
};

use super::operand::Operand;
use super::{Clause, Translator, folded};
use crate::error::Error;
use crate::types::Type;

impl Translator<'_> {
    /// Returns ` over (...)`.
    pub(super) fn window(&mut self, window: &WindowType) -> Result<Operand, Error> {
        let spec = match window {
            WindowType::WindowSpec(spec) => spec.clone(),
            WindowType::NamedWindow(name) => {
                let name = folded(name);
                let found = self.scope()?.windows.iter().find(|(own, _)| *own == name);
                match found {
                    Some((_, NamedWindowExpr::WindowSpec(spec))) => spec.clone(),
                    Some(_) => return self.unsupported("a window named after another"),
                    None => return self.refuse(format!("window `{name}` does not exist")),
                }
            }
        };
        let before = self.scope()?.clause;
        self.scope()?.clause = Clause::Having;
        let operand = self.specification(&spec)?;
        self.scope()?.clause = before;
        Ok(operand)
    }

    fn specification(&mut self, spec: &WindowSpec) -> Result<Operand, Error> {
        self.refuse_if(spec.window_name.is_some(), "a window made of another")?;
        let mut parts = Vec::new();
        let mut used = Vec::new();
        let mut keys = Vec::with_capacity(spec.partition_by.len());
        for expr in &spec.partition_by {
            let operand = self.expression(expr)?;
            let Some(kind) = operand.kind().filter(|kind| kind.has_equality()) else {
                return self.refuse("values of this type cannot be told apart");
            };
            keys.push(operand.collated(kind));
            used.push(operand);
        }
        if !keys.is_empty() {
            parts.push(format!("partition by {}", keys.join(", ")));
        }
        let mut terms = Vec::with_capacity(spec.order_by.len());
        for term in &spec.order_by {
            self.refuse_if(term.with_fill.is_some(), "clause WITH FILL")?;
            let operand = self.expression(&term.expr)?;
            let Some(kind) = operand.kind() else {
                return self.refuse("a constant orders nothing");
            };
            terms.push(self.direction(&operand, kind, term.options)?);
            used.push(operand);
        }
        if !terms.is_empty() {
            parts.push(format!("order by {}", terms.join(", ")));
        }
        if let Some(frame) = &spec.window_frame {
            parts.push(self.frame(frame)?);
        }
        let used: Vec<&Operand> = used.iter().collect();
        Ok(Operand::of(
            format!(" over ({})", parts.join(" ")),
            Type::Bool,
            &used,
        ))
    }

    fn frame(&mut self, frame: &WindowFrame) -> Result<String, Error> {
        let unit = match frame.units {
            WindowFrameUnits::Rows => "rows",
            WindowFrameUnits::Range => "range",
            WindowFrameUnits::Groups => "groups",
        };
        let start = self.bound(&frame.start_bound, unit)?;
        match &frame.end_bound {
            None => Ok(format!("{unit} {start}")),
            Some(end) => {
                let end = self.bound(end, unit)?;
                Ok(format!("{unit} between {start} and {end}"))
            }
        }
    }

    fn bound(&self, bound: &WindowFrameBound, unit: &str) -> Result<String, Error> {
        let (distance, word) = match bound {
            WindowFrameBound::CurrentRow => return Ok("current row".to_owned()),
            WindowFrameBound::Preceding(distance) => (distance, "preceding"),
            WindowFrameBound::Following(distance) => (distance, "following"),
        };
        let Some(distance) = distance else {
            return Ok(format!("unbounded {word}"));
        };
        self.refuse_if(unit == "range", "a distance in RANGE")?;
        match distance.as_ref() {
            Expr::Value(value) => match &value.value {
                Constant::Number(digits, false) if digits.parse::<u32>().is_ok() => {
                    Ok(format!("{digits} {word}"))
                }
                _ => self.unsupported("a distance of a window other than a whole number"),
            },
            _ => self.unsupported("a distance of a window other than a whole number"),
        }
    }
}
