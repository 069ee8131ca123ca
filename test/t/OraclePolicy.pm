# Random policies on a random schema, and the statements that define them.
#
# A policy: name, target, subject, path (foreign keys, in order), life (how the cutoff comes about), times, match, never,
# when_null, expression, condition, keep_latest, keep_per, activities, dependents, declared, action, set_clause; def, its
# definition as SQL; refusals, the SQLSTATEs that this definition may be refused with; bonds, what hangs on what.
package OraclePolicy;

use strict;
use warnings;
use utf8;

use Exporter 'import';
use OracleDice;
use OracleSchema;
use OracleTime;

our @EXPORT = qw(make_policy);

sub make_policy
{
	my ($case) = @_;
	my $policy = { name => pick('plain', 'we"ird; policy', "it's {a,\"b\"}", 'Größe'), refusals => {} };
	my @with_children = map { $_->{parent} } map { @{ $_->{fks} || [] } } @{ $case->{tables} };
	my @with_parents = grep { $_->{fks} } @{ $case->{tables} };
	$policy->{target} = pick(@{ $case->{tables} }, @with_children, @with_children, @with_parents, @with_parents);
	choose_subject($case, $policy);
	choose_time($case, $policy);
	choose_which($case, $policy);
	choose_action($case, $policy);
	choose_dependents($case, $policy);
	choose_life($case, $policy);
	bind_as_declared($case, $policy);
	$policy->{def} = definition($case, $policy);
	return $policy;
}

# Every way over foreign keys from a table that visits no table twice.
sub paths_from
{
	my ($table, @walked) = @_;
	my @paths;
	for my $fk (@{ $table->{fks} || [] })
	{
		next if $fk->{parent} == $table || grep { $_->{table} == $fk->{parent} } @walked;
		push @paths, [ @walked, $fk ], paths_from($fk->{parent}, @walked, $fk);
	}
	return @paths;
}

sub choose_subject
{
	my ($case, $policy) = @_;
	my @paths = paths_from($policy->{target});
	$policy->{subject} = $policy->{target};
	$policy->{path} = [];
	return if !@paths || chance(0.4);
	$policy->{path} = pick(@paths);
	$policy->{subject} = $policy->{path}[-1]{parent};
	$policy->{ways} = grep { $_->[-1]{parent} == $policy->{subject} } @paths;
	$policy->{names_path} = $policy->{ways} > 1 ? !chance(0.05) : chance(0.3);
	$policy->{refusals}{'42P08'} = 1 if $policy->{ways} > 1 && !$policy->{names_path};
	return;
}

# Which value says how old a row is.
sub choose_time
{
	my ($case, $policy) = @_;
	my @times = @{ $policy->{subject}{times} };
	my $how = pick_by(column => 12, columns => 2, expression => 3, activity => 3);
	$policy->{when_null} = chance(0.15) ? 'expire' : 'keep';
	$policy->{never} = [];
	if ($how eq 'expression') { choose_expression($case, $policy) }
	elsif ($how ne 'activity')
	{
		my $two = @times > 1 && ($times[0]{kind} eq 'int') == ($times[1]{kind} eq 'int') && ($times[0]{unit} || '') eq ($times[1]{unit} || '');
		$policy->{times} = $two && $how eq 'columns' ? [@times] : [ pick(@times) ];
		$policy->{match} = pick('all', 'any') if @{ $policy->{times} } > 1;
		my $first = $policy->{times}[0];
		$policy->{never} = [ some(roll(1, 2), never_values($first)) ] if chance(0.3) && !grep { $_->{type} ne $first->{type} } @{ $policy->{times} };
	}
	$policy->{when_null} = 'keep' if $policy->{expression};
	choose_activities($case, $policy, $how eq 'activity' ? 1 : chance(0.2));
	if (!$policy->{times} && !$policy->{expression} && !@{ $policy->{activities} })
	{
		$policy->{times} = [ pick(@times) ];
	}
	return;
}

# An instant of expiry that every row has for itself.
sub choose_expression
{
	my ($case, $policy) = @_;
	my ($time) = grep { $_->{kind} =~ /^(?:tz|ts|date)$/ } @{ $policy->{subject}{times} } or return;
	my $at = 'subject.' . ident($time->{name});
	my $other = pick(@{ $case->{tables} });
	$policy->{expression} = pick(
		$at,
		"$at + interval '1 day' * target.amount",
		"CASE WHEN target.status = 'old' THEN 'infinity' ELSE $at END",
		"$at + (SELECT interval '1 hour' * max(o.amount) FROM $other->{sql} o WHERE o.status = target.status) -- the longest",
		"coalesce($at, '-infinity')",
		"CASE WHEN subject.amount > 3 THEN $at END");
	# A date and an interval make a timestamp; two kinds of result stay two kinds.
	$policy->{expression_kind} = $policy->{expression} =~ /interval/ && $time->{kind} eq 'date' ? 'ts' : $time->{kind};
	return;
}

# Tables whose rows may speak of a subject, with the condition that joins them.
sub speakers
{
	my ($case, $subject) = @_;
	my @out;
	for my $table (@{ $case->{tables} })
	{
		for my $fk (grep { $_->{parent} == $subject } @{ $table->{fks} || [] })
		{
			push @out, [ $table, fk_condition($fk, 'activity', 'subject') ];
		}
		push @out, [ $table, refers_condition($table, 'activity', $subject, 'subject') ] if $table->{refers} && @{ $subject->{key} };
	}
	return @out;
}

sub refers_condition
{
	my ($table, $child, $parent, $alias) = @_;
	return "$child." . ident($table->{refers}{kind}) . ' = ' . literal("t$parent->{i}") . " AND $child." . ident($table->{refers}{to}) . " = $alias." . ident($parent->{key}[0]) . '::text';
}

sub choose_activities
{
	my ($case, $policy, $wanted) = @_;
	$policy->{activities} = [];
	return unless $wanted;
	for my $speaker (some(chance(0.3) ? 2 : 1, speakers($case, $policy->{subject})))
	{
		my ($table, $join) = @$speaker;
		push @{ $policy->{activities} }, {
			table => $table, join => $join, time => pick(@{ $table->{times} }), zone => chance(0.2) ? 'Asia/Tokyo' : $case->{zone},
			condition => chance(0.4) ? pick("activity.status = 'live'", 'activity.amount > 4', 'activity.status IS NOT DISTINCT FROM subject.status -- alike') : '' };
	}
	return;
}

# Which rows: a condition, and the newest that are kept.
sub choose_which
{
	my ($case, $policy) = @_;
	my $other = pick(@{ $case->{tables} });
	my @children = map { my $fk = $_; $fk->{parent} == $policy->{target} ? $fk : () } map { @{ $_->{fks} || [] } } @{ $case->{tables} };
	my @conditions = ("target.status = 'live'", 'target.amount > 2', "target.status IS DISTINCT FROM 'old' OR subject.amount < 5", "subject.status = 'live' -- of the subject",
		"EXISTS (SELECT 1 FROM $other->{sql} AS o WHERE o.amount = target.amount)", "(SELECT count(*) FROM $other->{sql} o WHERE o.status = subject.status) > 1");
	push @conditions, map { 'NOT EXISTS (SELECT FROM ' . $_->{table}{sql} . ' AS inside WHERE ' . fk_condition($_, 'inside', 'target') . ')' } @children, @children;
	$policy->{condition} = chance(0.5) ? pick(@conditions) : '';
	my $is_own = !@{ $policy->{path} };
	if ($is_own && $policy->{times} && @{ $policy->{times} } == 1 && $policy->{times}[0]{is_distinct} && $policy->{when_null} eq 'keep' && chance(0.35))
	{
		$policy->{keep_latest} = roll(1, 3);
		$policy->{keep_per} = [ some(roll(0, 2), 'status', 'amount', map { $_->{cols}[0] } @{ $policy->{target}{fks} || [] }) ];
	}
	return;
}

sub choose_action
{
	my ($case, $policy) = @_;
	$policy->{action} = pick_by(delete => 6, update => 2, archive => 2);
	return if $policy->{action} ne 'update';
	$policy->{set_clause} = pick("status = 'expired'", 'amount = target.amount + 1, status = NULL', "(status, amount) = ('gone', DEFAULT)", "status = 'expired' -- and no more");
	$policy->{condition} = join ' AND ', map { "($_\n)" } grep { $_ } $policy->{condition}, "target.status = 'live'" if chance(0.8);
	return;
}

# What hangs on the target, and what the policy says of it.
sub choose_dependents
{
	my ($case, $policy) = @_;
	$policy->{dependents} = pick('refuse', 'cascade');
	$policy->{declared} = [];
	my $is_update = $policy->{action} eq 'update';
	return if $is_update && chance(0.5);
	my @fks = map { @{ $_->{fks} || [] } } @{ $case->{tables} };
	my %near = ($policy->{target}{i} => 1);
	for (1, 2) { $near{ $_->{table}{i} } = 1 for grep { $near{ $_->{parent}{i} } && ($policy->{dependents} eq 'cascade' || $is_update || $_->{on_delete} eq 'CASCADE') } @fks }
	my %said;
	for my $fk (grep { $near{ $_->{parent}{i} } } @fks)
	{
		next if $said{ $fk->{table}{i} }++ || !chance(0.3);
		push @{ $policy->{declared} }, { table => $fk->{table}, action => $is_update ? 'delete' : pick_by(delete => 4, set_null => 2, refuse => 2, keep => 1) };
	}
	for my $table (grep { $_->{refers} } @{ $case->{tables} })
	{
		next unless chance(0.4);
		my $parent = chance(0.7) ? $policy->{target} : pick(grep { $near{ $_->{i} } } @{ $case->{tables} });
		next unless @{ $parent->{key} };
		push @{ $policy->{declared} }, { table => $table, parent => $parent, join => refers_condition($table, 'dependent', $parent, 'target'), action => $is_update ? 'delete' : pick_by(delete => 4, refuse => 2, keep => 1) };
	}
	return;
}

# How the cutoff comes about: a fixed instant, or a while before now.
sub choose_life
{
	my ($case, $policy) = @_;
	my $zone = literal($case->{zone});
	if ($policy->{expression} || $policy->{times} && chance(0.15)) { $case->{cutoff} = 'now()'; $policy->{expire_after} = $policy->{expression} ? undef : "'0'" }
	elsif (chance(0.35))
	{
		my $interval = pick('90 days', '3 months', '36 hours', '1 year 1 mon 3 days 02:30', '15 minutes', '2000 hours', '0.5 seconds', '1 week', '60 years');
		$case->{cutoff} = "now() - interval '$interval'";
		$policy->{expire_after} = "'$interval'";
	}
	else
	{
		my $at = pick('2024-02-10 11:22:33.456789+00', '2024-06-30 00:00:00+00', '2023-12-31 23:59:59.999999+00', '2024-02-10 11:22:33.5+00', '2025-01-15 05:00:00+00', '2001-09-09 01:46:40+00');
		$at = '1969-12-30 23:59:58.25+00' if chance(0.06);
		$case->{cutoff} = literal($at) . '::timestamptz';
		$case->{is_fixed} = 1;
		$policy->{expire_after} = "timezone($zone, now()) - timezone($zone, oracle.c())";
	}
	return;
}

# What is declared is checked with each call, so with everything that was declared before it.
sub bind_as_declared
{
	my ($case, $policy) = @_;
	my @declared = @{ $policy->{declared} };
	$policy->{declared} = [];
	bind_tables($case, $policy);
	for my $said (@declared)
	{
		push @{ $policy->{declared} }, $said;
		bind_tables($case, $policy);
	}
	return;
}

# The bonds along which a row's going is felt, each with what becomes of the row that refers: delete, refuse, set_null, schema.
sub bind_tables
{
	my ($case, $policy) = @_;
	$policy->{bonds} = [];
	my $is_update = $policy->{action} eq 'update';
	my %seen = ($policy->{target}{i} => 1);
	my @reached = ($policy->{target});
	my %used;
	my $take = sub {
		my ($bond) = @_;
		push @{ $policy->{bonds} }, $bond;
		$used{ $bond->{child}{i} } = 1;
		push @reached, $bond->{child} if $bond->{kind} eq 'delete' && !$seen{ $bond->{child}{i} }++;
	};
	for (my $n = 0; $n < @reached; $n++)
	{
		my $parent = $reached[$n];
		for my $fk (grep { $_->{parent} == $parent } map { @{ $_->{fks} || [] } } @{ $case->{tables} })
		{
			my ($said) = grep { !$_->{join} && $_->{table} == $fk->{table} } @{ $policy->{declared} };
			# A row that is only updated breaks no bond: the update spreads where the policy says so.
			next if $is_update && !$said && $policy->{dependents} eq 'refuse';
			my $rule = $fk->{on_delete};
			my $kind = $is_update ? 'delete' : $rule eq 'CASCADE' ? 'delete' : $rule =~ /^SET/ ? 'schema' : $policy->{dependents} eq 'cascade' ? 'delete' : 'refuse';
			$kind = $said->{action} if $said;
			$policy->{refusals}{'22023'} = 1 if $kind eq 'keep' && $rule !~ /^SET/ || $kind eq 'set_null' && !$fk->{is_nullable};
			$kind = 'schema' if $kind eq 'keep';
			$take->({ fk => $fk, child => $fk->{table}, parent => $parent, kind => $kind });
		}
		for my $said (grep { $_->{join} && $_->{parent} == $parent } @{ $policy->{declared} })
		{
			$take->({ join => $said->{join}, child => $said->{table}, parent => $parent, kind => $said->{action} }) if $said->{action} ne 'keep';
		}
	}
	# What is declared must be within reach.
	for my $said (@{ $policy->{declared} }) { $policy->{refusals}{'42704'} = 1 if $said->{action} ne 'keep' && !$used{ $said->{table}{i} } }
	$policy->{reached} = \@reached;
	return;
}

# The definition, as the statements that a user would write.
sub definition
{
	my ($case, $policy) = @_;
	my $regclass = sub { return literal($_[0]{sql}) . '::regclass' };
	my @with = ('name => ' . literal($policy->{name}), 'target => ' . $regclass->($policy->{target}));
	push @with, "expire_after => $policy->{expire_after}" if $policy->{expire_after};
	push @with, 'subject => ' . $regclass->($policy->{subject}) if @{ $policy->{path} } || chance(0.1);
	push @with, 'path => ARRAY[' . literal_list(map { $_->{name} } @{ $policy->{path} }) . ']::name[]' if $policy->{names_path};
	if (my $times = $policy->{times})
	{
		push @with, @$times > 1 ? 'time_columns => ARRAY[' . literal_list(map { $_->{name} } @$times) . ']::name[]' : 'time_column => ' . literal($times->[0]{name});
		push @with, 'time_match => ' . literal($policy->{match}) if $policy->{match};
		push @with, 'time_unit => ' . literal($times->[0]{unit}) if $times->[0]{unit};
	}
	push @with, 'time_zone => ' . literal($case->{zone});
	push @with, 'expiry_expression => $e$' . $policy->{expression} . '$e$' if $policy->{expression};
	push @with, 'never => ARRAY[' . join(', ', @{ $policy->{never} }) . ']' if @{ $policy->{never} };
	push @with, "when_null => 'expire'" if $policy->{when_null} eq 'expire';
	push @with, 'condition => $e$' . $policy->{condition} . '$e$' if $policy->{condition};
	push @with, 'action => ' . literal($policy->{action});
	push @with, 'set_clause => $e$' . $policy->{set_clause} . '$e$' if $policy->{set_clause};
	push @with, 'dependents => ' . literal($policy->{dependents});
	push @with, "keep_latest => $policy->{keep_latest}" if $policy->{keep_latest};
	push @with, 'keep_per => ARRAY[' . literal_list(@{ $policy->{keep_per} }) . ']::name[]' if $policy->{keep_per} && @{ $policy->{keep_per} };
	my $sql = 'SELECT retention.add_policy(' . join(', ', @with) . ");\n";
	for my $activity (@{ $policy->{activities} })
	{
		$sql .= 'SELECT retention.add_activity(' . join(', ', literal($policy->{name}), $regclass->($activity->{table}), literal($activity->{time}{name}), '$e$' . $activity->{join} . '$e$',
			($activity->{condition} ? 'condition => $e$' . $activity->{condition} . '$e$' : ()), ($activity->{time}{unit} ? 'time_unit => ' . literal($activity->{time}{unit}) : ()),
			($activity->{zone} ne $case->{zone} ? 'time_zone => ' . literal($activity->{zone}) : ())) . ");\n";
	}
	for my $said (@{ $policy->{declared} })
	{
		$sql .= 'SELECT retention.add_dependent(' . join(', ', literal($policy->{name}), $regclass->($said->{table}), ($said->{join} ? 'join_condition => $e$' . $said->{join} . '$e$' : ()),
			'action => ' . literal($said->{action}), ($said->{parent} && $said->{parent} != $policy->{target} ? 'parent => ' . $regclass->($said->{parent}) : ())) . ");\n";
	}
	return $sql;
}

1;
