//! What a failure of the store is answered, and what goes with the answer.

use sg_core::ports::Overdue;

use super::*;

#[test]
fn a_question_that_took_too_long_has_its_own_code() {
    let retry = |why: &str| PortError::new(ErrorKind::Retry, why);
    let cases = [
        (
            PortError::overdue("reading cells", Overdue::Reading),
            "query_timeout",
            "ask for a shorter time range",
        ),
        (PortError::overdue("reading cells", Overdue::Waiting), "query_timeout", "ask again"),
        (retry("reading cells: connection refused"), "store_unavailable", "connection refused"),
    ];
    for (error, code, part) in cases {
        let error = ApiError::of_store(&error);
        assert_eq!(error.meaning(), (StatusCode::SERVICE_UNAVAILABLE, code));
        assert!(error.detail().contains(part), "{}", error.detail());
        assert_eq!(error.into_response().headers()[header::RETRY_AFTER], "1");
    }
}

#[test]
fn a_failure_after_the_answer_has_begun_is_told_by_an_id_of_its_own() {
    let error = PortError::new(ErrorKind::Retry, "rebuilding hourly: the log does not answer");
    let [one, other] = [failed("rebuilding", &error), failed("rebuilding", &error)];
    assert_eq!(one["failed"]["detail"], "rebuilding hourly: the log does not answer");
    let ids = [&one, &other].map(|line| line["failed"]["request_id"].as_str().unwrap_or_default().to_owned());
    assert!(ids.iter().all(|id| id.len() == 32) && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn what_stands_beside_a_problem_is_what_its_body_says() {
    let cases = [
        (ApiError::KeyMissing, "key_missing", Some(Hurdle::Bar(Bar::KeyMissing))),
        (ApiError::TooManyQuestions, "too_many_questions", Some(Hurdle::Limit(Limit::Questions))),
        (ApiError::EmptyBody, "empty_body", None),
        (ApiError::KeysUnavailable, "keys_unavailable", None),
    ];
    for (error, code, hurdle) in cases {
        let answer = error.into_response();
        let problem = answer.extensions().get::<Problem>().expect("it stands beside each").clone();
        assert_eq!((problem.code, problem.hurdle), (code, hurdle));
        assert_eq!(problem.request_id.len(), 32);
    }
}
