"""Sessions whose user has sent no message for 24 hours, with their image and video rows."""
from rule import Rule

SILENT = """NOT EXISTS (SELECT FROM messages WHERE messages.user_id = {session}.user_id AND messages.sender = 'user'
                        AND messages."timestamp" >= (now() AT TIME ZONE 'UTC') - interval '24 hours')"""
MEDIA = ('"imageSent"', '"videoSent"')

RULE = Rule(
    policy="inactive_sessions",
    target="sessions",
    key="id",
    key_type="varchar",
    rows="sessions AS t",
    expired=SILENT.format(session="t"),
    change="DELETE FROM sessions",
    plain=tuple(f"DELETE FROM {media} USING sessions WHERE sessions.id = session_id AND {SILENT.format(session='sessions')}" for media in MEDIA)
    + (f"DELETE FROM sessions WHERE {SILENT.format(session='sessions')}",),
    plain_title="three DELETEs",
    victims={
        "sessions": SILENT.format(session="t"),
        **{media: f"EXISTS (SELECT FROM sessions WHERE sessions.id = t.session_id AND {SILENT.format(session='sessions')})" for media in MEDIA},
        "messages": None,
        "users": None,
        "properties": None,
    },
    dependents=tuple((media, "session_id") for media in MEDIA),
    batch=2_500,                # with what belongs to them, as many rows as the other loops take
    orm="sessions",
)
