# Read (with `.`) by demo/run, test/run and bench/run: the packages, a private build, a private server.
# The caller has set `top` to the checkout. POSIX sh; nothing but Debian's essential packages is assumed.
#
#   begin NAME              a private directory ($work) and its removal at any kind of end
#   need_packages SET...    installs what is missing of the sets: build, test, bench
#   build_and_install       copies the checkout to $work/src, builds there, installs into $PG_CONFIG's PostgreSQL
#   start_server [LINE...]  a throw-away cluster in $work, Unix socket only; the lines go to postgresql.conf
#   as_server COMMAND...    runs as the unprivileged user who owns the cluster

export LC_ALL=C.UTF-8

say() { printf '%s\n' "$@"; }
die() { printf '%s: %s\n' "${program:-pg_retention}" "$*" >&2; exit 1; }

begin() {
    program=$1
    work=$(mktemp -d "/tmp/pg_retention.$program.XXXXXX")
    cluster_config=
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS \
          PGSSLMODE PGREQUIRESSL PGDATA MAKEFLAGS MAKELEVEL
    cd "$work"
}

# Stops every server that runs in the directory, removes the directory, and keeps the exit status.
finish() {
    status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$cluster_config" ]; then remove_cluster_config; fi
    find "$work" -name postmaster.pid > "$work/running"
    while read -r pid_file; do
        as_server "$bindir/pg_ctl" stop -D "${pid_file%/*}" -m immediate -w -s < /dev/null || true
    done < "$work/running"
    cd /
    rm -rf "$work"
    exit "$status"
}

# Runs a command quietly; its output is shown only when it fails.
quietly() {
    if ! "$@" > "$work/log" 2>&1; then
        tail -n 60 "$work/log" >&2
        die "failed: $*"
    fi
}

# ---- packages ----

# The packages of one set, for PostgreSQL $major; those of a PostgreSQL that is not Debian's ($major is empty) are its owner's.
packages_of() {
    case $1 in
        build) echo "make g++ ${major:+postgresql-$major postgresql-server-dev-$major} libpq-dev libcli11-dev libncurses-dev nlohmann-json3-dev" ;;
        test) echo "libgtest-dev ${major:+postgresql-$major-pgtap postgresql-$major-cron} perl libipc-run-perl clang-format" ;;
        bench) echo "python3 python3-sqlalchemy python3-psycopg2" ;;
    esac
}

# PG_CONFIG if given; else the newest PostgreSQL that is here with its headers; else the one the distribution carries.
choose_postgres() {
    major=
    if [ -n "${PG_CONFIG:-}" ]; then
        case $("$PG_CONFIG" --bindir) in
            /usr/lib/postgresql/*) major=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/') ;;
        esac
        return
    fi
    for pgxs in /usr/lib/postgresql/*/lib/pgxs/src/makefiles/pgxs.mk; do
        candidate=${pgxs#/usr/lib/postgresql/}
        candidate=${candidate%%/*}
        if [ -f "$pgxs" ] && [ "$candidate" -gt "${major:-0}" ]; then major=$candidate; fi
    done
    if [ -z "$major" ]; then
        update_package_lists
        major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p')
        [ -n "$major" ] || die 'apt knows no package "postgresql"'
    fi
    PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config
}

missing_packages() {
    for set in "$@"; do
        for package in $(packages_of "$set"); do
            case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true) in
                installed) ;;
                *) printf ' %s' "$package" ;;
            esac
        done
    done
}

lists_updated=
update_package_lists() {
    [ -z "$lists_updated" ] || return 0
    [ "$(id -u)" = 0 ] || return 0
    quietly apt-get -q update
    lists_updated=yes
}

# Debian creates and starts a cluster "main" with the first server package: not wanted, so it is switched off meanwhile.
forbid_main_cluster() {
    cluster_config=/etc/postgresql-common/createcluster.d/pg_retention.conf
    mkdir -p "${cluster_config%/*}"
    echo 'create_main_cluster = false' > "$cluster_config"
}
remove_cluster_config() {
    rm -f "$cluster_config"
    cluster_config=
}

need_packages() {
    command -v dpkg-query > /dev/null || die 'this script knows Debian and its kin only; see "Install" in README.md'
    choose_postgres
    missing=$(missing_packages "$@")
    if [ -n "$missing" ]; then
        [ "$(id -u)" = 0 ] || die "not root, and these packages are missing:$missing"
        say "Installing packages:$missing"
        update_package_lists
        forbid_main_cluster
        DEBIAN_FRONTEND=noninteractive quietly apt-get -q -y --no-install-recommends \
            -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 install $missing
        remove_cluster_config
    fi
    export PG_CONFIG
    bindir=$("$PG_CONFIG" --bindir)
}

# ---- build ----

# PostgreSQL refuses to run as root: root's servers run as the user that Debian's packages made.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u postgres -- env HOME="$work" TMPDIR="$work" "$@"
    else
        env HOME="$work" TMPDIR="$work" "$@"
    fi
}

give_to_server() { if [ "$(id -u)" = 0 ]; then chown -R postgres: "$@"; fi; }

# A copy without what was built: the checkout may be read-only, another user's, or have spaces in its path.
build_and_install() {
    give_to_server "$work"
    mkdir "$work/src"
    (cd "$top" && tar --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude='*.so' --exclude=./.built-with --exclude=./extension/exports.* \
        --exclude=./runner/pg_retention --exclude=./test/unit/unit_tests --exclude=./results --exclude=./output_iso \
        --exclude=./tmp_check --exclude=./dist --exclude=./bench/results -cf - .) | tar -C "$work/src" --no-same-owner -xf -
    give_to_server "$work/src"
    say "Building with $("$PG_CONFIG" --version)"
    quietly as_server make -s -C "$work/src" -j"$(nproc)" all
    [ -w "$("$PG_CONFIG" --pkglibdir)" ] || die "cannot write to $("$PG_CONFIG" --pkglibdir): run as root"
    quietly make -s -C "$work/src" install
}

# ---- server ----

start_server() {
    quietly as_server "$bindir/initdb" -D "$work/data" -A peer -E UTF8 --locale=C.UTF-8
    as_server sh -c 'cat >> "$0"' "$work/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$work'
$(printf '%s\n' "$@")
END
    quietly as_server "$bindir/pg_ctl" start -D "$work/data" -l "$work/server.log" -w
    export PGHOST="$work" PGPORT=5432 PGDATABASE=postgres
}

# psql that stops at the first error and reads nobody's settings.
psql_quiet() { as_server "$bindir/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }

# One value.
ask() { psql_quiet -At -c "$1"; }
