//! Waits for callbacks and promises of the browser, where `device.poll` does nothing.

use crate::Error;
use crate::regression::device::Gpu;
use futures_intrusive::channel::shared::{
    OneshotBroadcastReceiver, oneshot_broadcast_channel, oneshot_channel,
};
use js_sys::{Function, Reflect};
use std::pin::pin;
use std::task::{Context, Waker};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wgpu::{Queue, SubmissionIndex};

/// A submission that the device may not have completed.
#[derive(Clone, Debug)]
pub struct Submission(OneshotBroadcastReceiver<()>);

impl Submission {
    /// The latest submission. The callback is requested at once: later it would wait for later submissions too.
    pub fn new(queue: &Queue, _: SubmissionIndex) -> Self {
        let (sender, receiver) = oneshot_broadcast_channel();
        queue.on_submitted_work_done(move || {
            // Sending fails only if nobody waits any more.
            let _ = sender.send(());
        });
        Submission(receiver)
    }
}

pub async fn complete(gpu: &Gpu, submission: &Submission) -> Result<(), Error> {
    submission.0.receive().await;
    gpu.check()
}

pub fn is_complete(gpu: &Gpu, submission: &Submission) -> Result<bool, Error> {
    gpu.check()?;
    let mut context = Context::from_waker(Waker::noop());
    Ok(pin!(submission.0.receive()).poll(&mut context).is_ready())
}

pub async fn read<T>(_: &Gpu, reading: impl Future<Output = T>) -> Result<T, Error> {
    Ok(reading.await)
}

/// Lets the page draw and handle events. A timer calls back in a later turn of the event loop; a future that only
/// wakes itself may be polled again in the same one.
pub async fn turn() {
    let (sender, receiver) = oneshot_channel();
    let callback = Closure::once_into_js(move || {
        let _ = sender.send(());
    });
    let timer = Reflect::get(&js_sys::global(), &JsValue::from_str("setTimeout"));
    let timer = timer.ok().and_then(|timer| timer.dyn_into::<Function>().ok());
    // Without a timer there is no event loop to let run.
    if let Some(timer) = timer
        && timer.call2(&JsValue::UNDEFINED, &callback, &JsValue::from(0)).is_ok()
    {
        receiver.receive().await;
    }
}
