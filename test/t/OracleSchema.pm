# Random schemas and their rows: what people have built, with names they should not have chosen.
#
# A case is a hash: schemas, zone, tables. A table: schema, name, sql, cols (name, type, rest), key, fks, times, rows.
# Rows hold SQL literals by column name; foreign keys are added after the rows, so that cycles need no order.
package OracleSchema;

use strict;
use warnings;
use utf8;

use Exporter 'import';
use OracleDice;
use OracleTime;

our @EXPORT = qw(make_schema schema_sql fk_condition);

my $number = 0;

# A name that begins with the stem or is worse.
sub named
{
	my ($stem) = @_;
	$number++;
	return "$stem$number" if chance(0.55);
	return pick(
		"$stem $number", "we\"ird $stem$number", "dot.$stem.$number", "Größe·$stem·$number", "sel'ect $stem$number", "back\\$stem$number\\",
		"\$1 $stem$number", "{a,\"$stem$number\"}", "\%I $stem$number", "UPPER $stem$number", "; DROP TABLE x; -- $number",
		substr("a_very_long_name_that_differs_only_at_the_end_of_its_63_bytes_" . '_' x 40, 0, 63 - length($number)) . $number);
}

# A reserved word or an alias of the engine's own, once a case.
sub table_name
{
	my ($used) = @_;
	my $word = pick(qw(select user order table group target subject dependent activity latest step_1 default));
	return chance(0.2) && !$used->{$word}++ ? $word : named('t');
}

sub key_type { return pick_by(int => 3, bigint => 3, uuid => 2, text => 2) }

# The literal of a key: the nth of table i.
sub key_literal
{
	my ($type, $i, $n) = @_;
	return sprintf("'%08x-%04x-4000-8000-%012x'", $n * 7919, $i, $n) if $type eq 'uuid';
	return literal("k'$i \\\"$n") if $type eq 'text';
	return $i * 1000 + $n;
}

sub make_schema
{
	$number = 0;
	my $case = { zone => pick_by(UTC => 4, 'Europe/Berlin' => 2, 'America/New_York' => 1, 'Asia/Kolkata' => 1, 'Pacific/Chatham' => 1) };
	$case->{schemas} = [ named('oracle_a'), named('oracle_b') ];
	my %used;
	for my $i (0 .. pick(2, 3, 3, 4, 4, 5, 5, 6) - 1)
	{
		my $same = $i && chance(0.2) ? $case->{tables}[0] : undef;
		my $table = { i => $i, schema => $same ? $case->{schemas}[1] : $case->{schemas}[ chance(0.75) ? 0 : 1 ], name => $same ? $same->{name} : table_name(\%used) };
		($same) = grep { $_->{schema} eq $table->{schema} && $_->{name} eq $table->{name} } @{ $case->{tables} };
		$table->{name} = named('t') if $same;
		$table->{sql} = ident($table->{schema}) . '.' . ident($table->{name});
		$table->{label} = "$table->{schema}.$table->{name}";
		push @{ $case->{tables} }, $table;
		shape_table($case, $table);
	}
	refer($case, $_) for @{ $case->{tables} };
	unlog($case);
	fill($case);
	return $case;
}

# Key, times and columns of a table, but for those of its foreign keys.
sub shape_table
{
	my ($case, $table) = @_;
	$table->{shape} = pick_by(plain => 12, keyless => 2, heir => 2, hash => 1, range => 1, nested => 1, list => 2, by_time => 1);
	my $is_keyless = $table->{shape} =~ /^(?:keyless|list|by_time)$/;
	$table->{key_types} = $is_keyless ? [] : [ key_type() ];
	push @{ $table->{key_types} }, pick(qw(int text)) if !$is_keyless && $table->{shape} ne 'hash' && chance(0.35);
	$table->{key_types}[0] = pick(qw(int bigint)) if $table->{shape} =~ /^(?:range|nested)$/;
	my $is_unique = chance(0.15);
	for my $type (@{ $table->{key_types} })
	{
		my $name = named('id');
		push @{ $table->{key} }, $name;
		push @{ $table->{cols} }, { name => $name, type => $type, rest => $is_unique ? 'NOT NULL' : '' };
	}
	$table->{key} ||= [];
	$table->{key_word} = $is_unique ? 'UNIQUE' : 'PRIMARY KEY';
	for (1 .. (chance(0.4) ? 2 : 1))
	{
		my $time = time_kind();
		$time = { kind => 'ts', type => 'timestamp' } if $table->{shape} eq 'by_time' && !$table->{times};
		$time->{name} = named('at');
		$time->{is_distinct} = chance(0.5);
		push @{ $table->{times} }, $time;
		my $column = { name => $time->{name}, type => $time->{type}, rest => '', time => $time };
		if ($time->{kind} eq 'ts' && $table->{shape} ne 'by_time' && chance(0.25))
		{
			$column->{made_of} = named('made');
			$column->{rest} = 'GENERATED ALWAYS AS (' . ident($column->{made_of}) . " + interval '1 day') STORED";
			push @{ $table->{cols} }, { name => $column->{made_of}, type => 'timestamp', rest => '' };
		}
		elsif (chance(0.12))
		{
			my $domain = ident($table->{schema}) . '.' . ident(named('domain'));
			push @{ $case->{domains} }, "CREATE DOMAIN $domain AS $time->{type};\n";
			$column->{type} = $domain;
		}
		push @{ $table->{cols} }, $column;
	}
	push @{ $table->{cols} }, { name => 'status', type => 'text', rest => chance(0.3) ? "DEFAULT 'live'" : '' };
	push @{ $table->{cols} }, { name => 'amount', type => 'int', rest => chance(0.3) ? 'DEFAULT 7' : '' };
	push @{ $table->{cols} }, { name => named('twice'), type => 'int', rest => 'GENERATED ALWAYS AS (amount * 2) STORED', is_made => 1 } if chance(0.25);
	push @{ $table->{cols} }, { name => named('seq'), type => 'int', rest => 'GENERATED ALWAYS AS IDENTITY', is_made => 1 } if chance(0.15) && $table->{shape} !~ /^(?:heir|hash|range|nested|list|by_time)$/;
	if (chance(0.35))
	{
		$table->{refers} = { kind => named('kind'), to => named('to') };
		push @{ $table->{cols} }, map { { name => $_, type => 'text', rest => '' } } @{ $table->{refers} }{qw(kind to)};
	}
	return;
}

# The foreign keys of a table.
sub refer
{
	my ($case, $table) = @_;
	my @tables = @{ $case->{tables} };
	for (1 .. ($table->{i} ? pick(0, 1, 1, 1, 1, 1, 2, 2) : chance(0.3)))
	{
		my $where = pick_by(up => 14, self => 3, down => 3);
		my @parents = grep { @{ $_->{key} } && ($where eq 'up' ? $_->{i} < $table->{i} : $where eq 'self' ? $_ == $table : $_->{i} > $table->{i}) } @tables;
		my $parent = pick(@parents) or next;
		my $fk = { table => $table, parent => $parent, name => named('fk'), pcols => [ @{ $parent->{key} } ] };
		$fk->{on_delete} = pick_by('NO ACTION' => 4, RESTRICT => 2, CASCADE => 4, 'SET NULL' => 3, 'SET DEFAULT' => 1);
		$fk->{is_nullable} = $where ne 'up' || $fk->{on_delete} =~ /^SET/ || chance(0.5);
		$fk->{when} = pick_by('' => 6, 'DEFERRABLE INITIALLY DEFERRED' => 2, 'DEFERRABLE INITIALLY IMMEDIATE' => 1);
		$fk->{is_full} = @{ $fk->{pcols} } > 1 && chance(0.2);
		my $has_default = chance(0.7);
		for my $n (0 .. $#{ $parent->{key} })
		{
			my $type = $parent->{key_types}[$n];
			$type = 'bigint' if $type eq 'int' && chance(0.1);
			my $column = { name => named('ref'), type => $type, rest => $fk->{is_nullable} ? '' : 'NOT NULL' };
			$column->{rest} = "DEFAULT " . key_literal($parent->{key_types}[$n], $parent->{i}, 0) if $fk->{on_delete} eq 'SET DEFAULT' && $has_default;
			push @{ $table->{cols} }, $column;
			push @{ $fk->{cols} }, $column->{name};
		}
		# An alternative to emptying the whole of a composite key.
		$fk->{set_columns} = [ $fk->{cols}[0] ] if $fk->{on_delete} eq 'SET NULL' && @{ $fk->{cols} } > 1 && !$fk->{is_full} && chance(0.4);
		push @{ $table->{fks} }, $fk;
	}
	@{ $table->{cols} } = some(scalar @{ $table->{cols} }, @{ $table->{cols} });
	return;
}

# A permanent table cannot refer to an unlogged one.
sub unlog
{
	my ($case) = @_;
	my %referred = map { $_->{parent}{i} => 1 } map { @{ $_->{fks} || [] } } @{ $case->{tables} };
	for my $table (@{ $case->{tables} })
	{
		$table->{is_unlogged} = 1 if !$referred{ $table->{i} } && $table->{shape} =~ /^(?:plain|keyless)$/ && chance(0.15);
	}
	return;
}

# The rows: keys first, then what refers to them.
sub fill
{
	my ($case) = @_;
	for my $table (@{ $case->{tables} })
	{
		my %used;
		my $count = roll(3, 24);
		for my $n (0 .. $count - 1 + ($table->{shape} eq 'heir' ? roll(1, 8) : 0))
		{
			my %row = (is_heir => $n >= $count);
			for my $k (0 .. $#{ $table->{key} }) { $row{cells}{ $table->{key}[$k] } = key_literal($table->{key_types}[$k], $table->{i}, $n) }
			for my $column (@{ $table->{cols} })
			{
				next unless $column->{time};
				my $distinct = $column->{time}{is_distinct} ? $used{ $column->{name} } ||= {} : undef;
				my $value = time_value($column->{time}, $case->{zone}, $distinct, $n == 0);
				$value = "(${value}::timestamp - interval '1 day')" if $column->{made_of};
				$row{cells}{ $column->{made_of} || $column->{name} } = $value;
			}
			$row{cells}{status} = pick("'live'", "'live'", "'live'", "'old'", 'NULL');
			$row{cells}{amount} = pick('NULL', map { roll(0, 9) } 1 .. 8);
			push @{ $table->{rows} }, \%row;
		}
	}
	for my $table (@{ $case->{tables} })
	{
		for my $row (@{ $table->{rows} })
		{
			point($_, $row, $row == $table->{rows}[0]) for @{ $table->{fks} || [] };
			next unless $table->{refers};
			my $other = pick(@{ $case->{tables} });
			my $key = $other->{key}[0];
			my $value = $key && chance(0.9) ? pick(@{ $other->{rows} })->{cells}{$key} : 'NULL';
			@{ $row->{cells} }{ $table->{refers}{kind}, $table->{refers}{to} } = (literal("t$other->{i}"), $value eq 'NULL' ? $value : "$value");
		}
	}
	return;
}

# What one row refers to through one key.
sub point
{
	my ($fk, $row, $is_first) = @_;
	my @cells = @{ $fk->{cols} };
	my $to = pick(grep { !$_->{is_heir} } @{ $fk->{parent}{rows} });
	@{ $row->{cells} }{@cells} = @{ $to->{cells} }{ @{ $fk->{pcols} } };
	return if !$fk->{is_nullable} || !($is_first || chance(0.25));
	@{ $row->{cells} }{@cells} = ('NULL') x @cells;
	# Half a key refers to nothing, whatever it says.
	$row->{cells}{ $cells[-1] } = pick(@{ $fk->{parent}{rows} })->{cells}{ $fk->{pcols}[-1] } if @cells > 1 && !$fk->{is_full} && chance(0.5);
	return;
}

# How parent and child meet, as SQL over two aliases.
sub fk_condition
{
	my ($fk, $child, $parent) = @_;
	return join ' AND ', map { "$parent." . ident($fk->{pcols}[$_]) . " = $child." . ident($fk->{cols}[$_]) } 0 .. $#{ $fk->{cols} };
}

# ---- as SQL ----

sub schema_sql
{
	my ($case) = @_;
	my $sql = join '', map { 'CREATE SCHEMA ' . ident($_) . ";\n" } @{ $case->{schemas} };
	$sql .= join '', @{ $case->{domains} || [] };
	$sql .= table_sql($case, $_) for @{ $case->{tables} };
	$sql .= rows_sql($_) for @{ $case->{tables} };
	$sql .= key_sql($_) for map { @{ $_->{fks} || [] } } @{ $case->{tables} };
	return $sql;
}

sub table_sql
{
	my ($case, $table) = @_;
	my @lines = map { ident($_->{name}) . " $_->{type} $_->{rest}" } @{ $table->{cols} };
	push @lines, "$table->{key_word} (" . join(', ', map { ident($_) } @{ $table->{key} }) . ')' if @{ $table->{key} };
	my $has_gap = chance(0.2);
	unshift @lines, 'dropped int' if $has_gap;
	my $by = $table->{shape};
	my $key = @{ $table->{key} } ? ident($table->{key}[0]) : '';
	my $partition = $by eq 'hash' ? " PARTITION BY HASH ($key)" : $by =~ /^(?:range|nested)$/ ? " PARTITION BY RANGE ($key)"
	  : $by eq 'list' ? ' PARTITION BY LIST (status)' : $by eq 'by_time' ? ' PARTITION BY RANGE (' . ident($table->{times}[0]{name}) . ')' : '';
	my $sql = 'CREATE' . ($table->{is_unlogged} ? ' UNLOGGED' : '') . " TABLE $table->{sql} (" . join(', ', @lines) . ")$partition;\n";
	$sql .= "ALTER TABLE $table->{sql} DROP COLUMN dropped;\n" if $has_gap;
	return $sql . partitions_sql($case, $table, $key);
}

sub partitions_sql
{
	my ($case, $table, $key) = @_;
	my $schema = ident(pick(@{ $case->{schemas} }));
	my $leaf = sub { return "$schema." . ident(named('part')) };
	my $of = sub { my ($bounds, $parent) = @_; return 'CREATE TABLE ' . $leaf->() . " PARTITION OF " . ($parent || $table->{sql}) . " $bounds;\n" };
	my $middle = $table->{i} * 1000 + 8;
	my $sql = '';
	if ($table->{shape} eq 'heir')
	{
		$table->{heir} = $leaf->();
		$sql = "CREATE TABLE $table->{heir} (extra text DEFAULT 'more') INHERITS ($table->{sql});\n";
	}
	elsif ($table->{shape} eq 'hash') { $sql .= $of->("FOR VALUES WITH (MODULUS 3, REMAINDER $_)") for 0 .. 2 }
	elsif ($table->{shape} eq 'range') { $sql = $of->("FOR VALUES FROM (MINVALUE) TO ($middle)") . (chance(0.5) ? attached_sql($table, $leaf->(), "FOR VALUES FROM ($middle) TO (MAXVALUE)") : $of->('DEFAULT')) }
	elsif ($table->{shape} eq 'nested')
	{
		my $inner = $leaf->();
		$sql = $of->("FOR VALUES FROM (MINVALUE) TO ($middle)") . "CREATE TABLE $inner PARTITION OF $table->{sql} DEFAULT PARTITION BY HASH ($key);\n";
		$sql .= $of->("FOR VALUES WITH (MODULUS 2, REMAINDER $_)", $inner) for 0, 1;
	}
	elsif ($table->{shape} eq 'list') { $sql = $of->("FOR VALUES IN ('live')") . attached_sql($table, $leaf->(), "FOR VALUES IN ('old', NULL)") . $of->('DEFAULT') }
	elsif ($table->{shape} eq 'by_time')
	{
		my $edge = 'timezone(' . literal($case->{zone}) . ', oracle.c())';
		$sql = $of->("FOR VALUES FROM (MINVALUE) TO ($edge)") . $of->("FOR VALUES FROM ($edge) TO ($edge + interval '20 days')") . $of->('DEFAULT');
	}
	return $sql;
}

# A partition that was a table of its own, with its columns in another order.
sub attached_sql
{
	my ($table, $leaf, $bounds) = @_;
	my @lines = map { ident($_->{name}) . " $_->{type} $_->{rest}" } reverse @{ $table->{cols} };
	push @lines, "$table->{key_word} (" . join(', ', map { ident($_) } @{ $table->{key} }) . ')' if @{ $table->{key} };
	return "CREATE TABLE $leaf (" . join(', ', @lines) . ");\nALTER TABLE $table->{sql} ATTACH PARTITION $leaf $bounds;\n";
}

sub rows_sql
{
	my ($table) = @_;
	my $sql = '';
	for my $is_heir (0, 1)
	{
		my @rows = grep { !!$_->{is_heir} == $is_heir } @{ $table->{rows} } or next;
		my @columns = sort keys %{ $rows[0]{cells} };
		push @columns, 'extra' if $is_heir;
		my $n = 0;
		my @lines = map { my %cells = (%{ $_->{cells} }, extra => $n++ % 3 ? "'more $n'" : 'DEFAULT'); '(' . join(', ', map { $cells{$_} } @columns) . ')' } @rows;
		# Row by row: the types of one row's literals must not decide another's.
		my $into = 'INSERT INTO ' . ($is_heir ? $table->{heir} : $table->{sql}) . ' (' . join(', ', map { ident($_) } @columns) . ') VALUES ';
		$sql .= $into . join(",\n  ", @lines) . ";\n";
	}
	return $sql;
}

sub key_sql
{
	my ($fk) = @_;
	my $list = sub { return '(' . join(', ', map { ident($_) } @_) . ')' };
	my $sql = "ALTER TABLE $fk->{table}{sql} ADD CONSTRAINT " . ident($fk->{name}) . ' FOREIGN KEY ' . $list->(@{ $fk->{cols} }) . " REFERENCES $fk->{parent}{sql} " . $list->(@{ $fk->{pcols} });
	$sql .= ' MATCH FULL' if $fk->{is_full};
	$sql .= " ON DELETE $fk->{on_delete}" . ($fk->{set_columns} ? ' ' . $list->(@{ $fk->{set_columns} }) : '');
	return "$sql $fk->{when};\n";
}

1;
