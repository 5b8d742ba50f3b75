//! With the rights that the documentation lists, and with less.

use serde_json::json;

use crate::fixture::{Case, SHOP, certificate, done, pair};

/// A role on both sides, the source's tables owned by another.
async fn mover(case: &Case, role: &str) -> (String, String) {
    let pair = pair().await;
    let owner = format!("{role}_owner");
    pair.source.create_user(&owner, "").await.unwrap();
    pair.target.create_user(&owner, "").await.unwrap();
    pair.source.create_user(role, "").await.unwrap();
    let user = pair.target.create_user(role, "").await.unwrap();
    case.source
        .execute(&format!(
            "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO {owner};
             SET ROLE {owner}; {SHOP}"
        ))
        .await
        .unwrap();
    case.target.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    (case.source.url_as(role, &user.password), case.target.url_as(role, &user.password))
}

/// As `zdm_pg::rights` lists them.
fn source_grants(database: &str, role: &str) -> Vec<String> {
    vec![
        format!("ALTER ROLE {role} LOGIN REPLICATION"),
        format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        format!("GRANT USAGE ON SCHEMA public TO {role}"),
        format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"),
        format!("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"),
        format!("GRANT {role}_owner TO {role}"),
    ]
}

fn target_grants(database: &str, role: &str) -> Vec<String> {
    vec![
        format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        format!("GRANT USAGE, CREATE ON SCHEMA public TO {role}"),
    ]
}

#[tokio::test]
async fn the_rights_of_the_documentation_are_enough() {
    let case = Case::new("plain_roles", "").await;
    let (from, to) = mover(&case, "mover").await;
    case.source.execute(&source_grants(case.name, "mover").join(";")).await.unwrap();
    case.target.execute(&target_grants(case.name, "mover").join(";")).await.unwrap();
    let zdm = |args: &'static [&'static str]| done(case.between(args, &from, &to));

    let copied = zdm(&["migrate", "--json"]).await;
    assert_eq!(copied.code, Some(0), "{copied:?}");
    case.source.execute("UPDATE customer SET name = 'changed' WHERE id < 9").await.unwrap();
    let file = certificate("mover");
    let certified = ["migrate", "--cutover", "--verify", "--certificate", &file, "--json"];
    let switched = done(case.between(&certified, &from, &to)).await;
    assert_eq!(
        (switched.code, &switched.summary()["certificate"]),
        (Some(0), &json!("equal")),
        "{switched:?}"
    );
    case.equal().await;
    // The application is another role: it is refused here and served there.
    let stray = "SET ROLE mover_owner; INSERT INTO customer (name) VALUES ('stray')";
    let refused = case.source.execute(stray).await.unwrap_err().to_string();
    assert!(refused.contains("its data moved to"), "{refused}");
    case.target
        .execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO mover_owner; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO mover_owner; SET ROLE mover_owner; INSERT INTO customer (name) VALUES ('x'); INSERT INTO purchase (customer, cents) VALUES (1, 1)")
        .await
        .unwrap();
    let dropped = zdm(&["drop", "--force", "--json"]).await;
    assert_eq!(dropped.code, Some(0), "{dropped:?}");
    assert_eq!(case.traces().await, (vec![], vec!["table customer".to_owned(), "table purchase".to_owned()]));
}

#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    let case = Case::new("less_rights", "").await;
    let (from, to) = mover(&case, "poor").await;
    let source = source_grants(case.name, "poor");
    case.target.execute(&target_grants(case.name, "poor").join(";")).await.unwrap();
    // Each statement is asked for until it is given, and no longer.
    let asked = [
        "REPLICATION",
        "GRANT CREATE ON DATABASE",
        "GRANT USAGE ON SCHEMA",
        "GRANT SELECT ON \"public\".\"customer\"",
        "GRANT SELECT ON SEQUENCE",
        "GRANT \"poor_owner\" TO \"poor\"",
    ];
    assert_eq!(asked.len(), source.len());
    for (grant, says) in source.iter().zip(asked) {
        let refused = done(case.between(&["migrate"], &from, &to)).await;
        refused.fails(&[says]);
        assert_eq!(case.traces().await, (vec![], vec![]), "before {grant}");
        case.source.execute(grant).await.unwrap();
        let assessed = done(case.between(&["assess"], &from, &to)).await;
        assert!(!(assessed.out + &assessed.err).contains(says), "{says} behind {grant}");
    }
    for (revoked, says, given) in [
        (
            "REVOKE CREATE ON DATABASE less_rights FROM poor",
            "GRANT CREATE ON DATABASE",
            "GRANT CREATE ON DATABASE less_rights TO poor",
        ),
        (
            "REVOKE CREATE ON SCHEMA public FROM poor",
            "GRANT USAGE, CREATE ON SCHEMA",
            "GRANT CREATE ON SCHEMA public TO poor",
        ),
    ] {
        case.target.execute(revoked).await.unwrap();
        let refused = done(case.between(&["migrate"], &from, &to)).await;
        refused.fails(&[says, "poor"]);
        assert_eq!(case.traces().await, (vec![], vec![]), "{revoked}");
        case.target.execute(given).await.unwrap();
    }
    let moved = done(case.between(&["migrate", "--cutover"], &from, &to)).await;
    assert_eq!(moved.code, Some(0), "{moved:?}");
}
