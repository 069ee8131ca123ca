# Writes an upgrade script from its outline: what an outline takes from the parts of the current version stands there once.
#   -- @whole PART                 the whole part (a topic that the earlier version did not have)
#   -- @from PART STATEMENT...     from the line that begins with STATEMENT up to the next empty line; a view or function
#                                  replaces the one that is there
# Use: awk -f sql/upgrade/join.awk sql/upgrade/OLD--NEW.sql (in the directory above sql/)

function open_part(name,    line) {
    part = "sql/" name
    if ((getline line < part) < 0) { print "join.awk: no " part > "/dev/stderr"; exit failed = 1 }
    close(part)
}

$2 == "@whole" {
    open_part($3)
    while ((getline line < part) > 0) print line
    close(part)
    next
}

$2 == "@from" {
    open_part($3)
    start = $0
    sub(/^-- @from [^ ]+ /, "", start)
    found = 0
    while ((getline line < part) > 0) {
        if (!found && index(line, start) == 1) {
            found = 1
            sub(/^CREATE (VIEW|FUNCTION|PROCEDURE)/, "CREATE OR REPLACE " (split(line, word, " ") ? word[2] : ""), line)
        }
        if (found && line == "") break
        if (found) print line
    }
    close(part)
    if (!found) { print "join.awk: no \"" start "\" in " part > "/dev/stderr"; exit failed = 1 }
    next
}

{ print }
