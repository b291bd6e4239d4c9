//! `GET …/screen`: what stands on a session's screen, now or as it was.

use super::App;
use super::sessions::find;
use crate::model::Wall;
use crate::session::Picture;
use crate::session::screen::{self, At};
use crate::wire::{ApiError, Code, ScreenFormat, ScreenQuery};
use actix_web::{HttpRequest, HttpResponse, web};

pub(super) async fn show(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let ScreenQuery { at, format } = ScreenQuery::from_query(request.query_string())?;
    let at = at.as_deref().map(moment).transpose()?;
    let session = find(&app, &name).await?.addr;
    let kind = match format {
        ScreenFormat::Ansi => {
            let painted = match at {
                None => screen::paint(&session).await?,
                Some(at) => screen::at(&session, at, Picture::painted).await?,
            };
            return Ok(HttpResponse::Ok().content_type(TEXT).body(painted));
        }
        text_or_json => text_or_json,
    };
    let shown = match at {
        None => screen::show(&session).await?,
        Some(at) => screen::at(&session, at, Picture::screen).await?,
    };
    Ok(match kind {
        ScreenFormat::Json => HttpResponse::Ok().json(shown),
        ScreenFormat::Text | ScreenFormat::Ansi => HttpResponse::Ok().content_type(TEXT).body(shown.text()),
    })
}

const TEXT: &str = "text/plain; charset=utf-8";

fn moment(text: &str) -> Result<At, ApiError> {
    if text.starts_with('@') {
        return text.parse().map(At::Place).map_err(|e| ApiError::new(Code::Usage, format!("{e}")));
    }
    let time = text.parse::<jiff::Timestamp>().map(|time| At::Time(Wall(time.as_microsecond())));
    time.map_err(|_| {
        ApiError::new(Code::Usage, format!("bad moment {text:?}: write a time such as 2026-02-01T03:40:00Z, or @SEQ"))
    })
}
