use super::exponential;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The numbers of rules and losses: f32, f64, [`Strict`](super::Strict), or [`Bounded`](super::Bounded).
pub trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// A constant, rounded to nearest where this type is narrower than f64.
    fn of(x: f64) -> Self;
    /// A constant of a step that the device makes by integer arithmetic: off by 0.51 ulp of f32.
    fn near(x: f64) -> Self;
    /// √x.
    fn root(self) -> Self;
    /// |x|.
    fn magnitude(self) -> Self;
    /// The larger one.
    fn larger(self, other: Self) -> Self;
    /// −1, 0 or 1.
    fn sign(self) -> Self;
    /// The smaller one.
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        -(-self).larger(-other)
    }
    /// Whether it is below zero; for a function that is continuous there.
    fn is_negative(self) -> bool;
    /// eˣ for x up to 88.
    fn exponential(self) -> Self;
    /// ln(1 + x) for x from 0 to 1.
    fn log_one_plus(self) -> Self;
    /// ln x for x > 0.
    fn logarithm(self) -> Self;
    /// This number as it is taken from memory.
    #[inline(always)]
    fn loaded(self) -> Self {
        self
    }
    /// This number as it goes to memory.
    #[inline(always)]
    fn stored(self) -> Self {
        self
    }
}

/// f32 or f64.
pub trait Real:
    Number
    + num_traits::Float
    + num_traits::NumAssign
    + std::iter::Sum
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// The value in f64, exactly.
    fn f64(self) -> f64;
}

macro_rules! number {
    ($float:ty, $exponential:expr, $log_one_plus:expr, $logarithm:expr) => {
        impl Number for $float {
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $float
            }

            #[inline(always)]
            fn near(x: f64) -> Self {
                x as $float
            }

            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }

            #[inline(always)]
            fn larger(self, other: Self) -> Self {
                if self < other { other } else { self }
            }

            #[inline(always)]
            fn sign(self) -> Self {
                let positive = if self > 0.0 { 1.0 } else { 0.0 };
                if self < 0.0 { -1.0 } else { positive }
            }

            #[inline(always)]
            fn is_negative(self) -> bool {
                self < 0.0
            }

            #[inline(always)]
            fn exponential(self) -> Self {
                $exponential(self)
            }

            #[inline(always)]
            fn log_one_plus(self) -> Self {
                $log_one_plus(self)
            }

            #[inline(always)]
            fn logarithm(self) -> Self {
                $logarithm(self)
            }
        }
    };
}

number!(f32, exponential::exponential, exponential::log_one_plus, exponential::logarithm);
number!(f64, f64::exp, f64::ln_1p, f64::ln);

impl Real for f32 {
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
}
