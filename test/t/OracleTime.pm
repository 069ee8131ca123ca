# Kinds of time: a column's type, its values around the cutoff, and when the oracle holds a value to be expired.
#
# oracle.c() is the cutoff of the case. What is said here is said from the meaning of each kind alone.
package OracleTime;

use strict;
use warnings;

use Exporter 'import';
use OracleDice;

our @EXPORT = qw(time_kind time_type time_value expired_sql alive_sql order_sql never_values unit_factor);

my %per_second = (s => 1, ms => 1000, us => 1000000);

# A kind at random: { kind, unit, type }.
sub time_kind
{
	my $kind = pick_by(tz => 4, ts => 4, date => 3, int => 4, uuid => 2);
	return { kind => $kind, type => time_type($kind) } if $kind ne 'int';
	my $unit = pick(qw(s s ms us));
	return { kind => 'int', unit => $unit, type => $unit eq 's' && chance(0.5) ? 'int' : 'bigint' };
}

sub time_type
{
	my ($kind) = @_;
	return { tz => 'timestamptz', ts => 'timestamp', date => 'date', uuid => 'uuid', int => 'bigint' }->{$kind};
}

sub unit_factor { my ($time) = @_; return $per_second{ $time->{unit} } }

# How far a value lies from the cutoff, in the kind's smallest steps: on it, beside it, or anywhere.
sub distance
{
	my ($time) = @_;
	return pick(0, 0, -1, 1) if chance(0.35);
	my $day = $time->{kind} eq 'date' ? 1 : $time->{kind} eq 'int' ? 86400 * unit_factor($time) : $time->{kind} eq 'uuid' ? 86400_000 : 86400_000_000;
	return pick(-1, 1) * roll(1, 3) * $day if chance(0.2) || $time->{kind} eq 'date' && chance(0.2);
	return roll(-90, 60) * $day + ($day > 1 ? roll(0, $day - 1) : 0);
}

# A uuid whose first 48 bits are the cutoff's milliseconds and `distance`.
sub uuid_sql
{
	my ($distance, $version) = @_;
	my $rest = pick('000-8000-000000000000', 'fff-bfff-ffffffffffff', 'a5b-9c2d-3e4f5a6b7c8d');
	my $hex = "lpad(to_hex(greatest(floor(extract(epoch from oracle.c()) * 1000)::bigint + ($distance), 0)), 12, '0')";
	return "(overlay($hex placing '-' from 9 for 0) || '-$version$rest')::uuid";
}

# A value at random, as SQL. `used` makes values differ from each other (a hash kept by the caller); undef lets them repeat.
sub time_value
{
	my ($time, $zone, $used, $sentinel) = @_;
	my $kind = $time->{kind};
	my $is_calendar = $kind eq 'tz' || $kind eq 'ts' || $kind eq 'date';
	return 'NULL' if $sentinel && !$is_calendar;
	return "'infinity'::$time->{type}" if $sentinel;
	return 'NULL' if chance(0.08);
	return "'" . pick('infinity', '-infinity') . "'::" . time_type($kind) if $is_calendar && chance(0.08);
	if ($kind ne 'uuid' && chance(0.06))
	{
		my $value = pick(never_values($time));
		return $value . '::' . time_type($kind) unless $used && $used->{$value}++;
	}
	my $distance = distance($time);
	for (1 .. 60) { last if !$used || !$used->{$distance}; $distance = distance($time) }
	return 'NULL' if $used && $used->{$distance}++;
	return "(oracle.c() + interval '$distance microseconds')" if $kind eq 'tz';
	return "(timezone(" . literal($zone) . ", oracle.c()) + interval '$distance microseconds')" if $kind eq 'ts';
	return "(timezone(" . literal($zone) . ", oracle.c())::date + ($distance))" if $kind eq 'date';
	return uuid_sql($distance, chance(0.85) ? 7 : 4) if $kind eq 'uuid';
	my $least = $time->{type} eq 'int' ? "-2147483647, least(2147483646, " : "-9223372036854775807, (";
	return "greatest($least floor(extract(epoch from oracle.c()) * " . unit_factor($time) . ") + ($distance)))::$time->{type}";
}

# Values that a policy may call "never", as text.
sub never_values
{
	my ($time) = @_;
	return ("'0'", "'-1'", $time->{type} eq 'int' ? "'2147483647'" : "'9223372036854775807'") if $time->{kind} eq 'int';
	return ("'1999-01-01'") if $time->{kind} eq 'date';
	return ("'1999-01-01 00:00:00+00'") if $time->{kind} eq 'tz';
	return ("'1999-01-01 00:00:00'") if $time->{kind} eq 'ts';
	return ("'01900000-0000-7000-8000-000000000000'");
}

# The value as a number that grows with time; NULL where it is no instant. Only for kinds that are numbers.
sub number_sql
{
	my ($time, $value) = @_;
	return "($value)::numeric" if $time->{kind} eq 'int';
	my $hex = "replace(($value)::text, '-', '')";
	return "(CASE WHEN substr($hex, 13, 1) = '7' THEN ('x' || substr($hex, 1, 12))::bit(48)::bigint::numeric END)";
}

# The cutoff as such a number.
sub bound_sql
{
	my ($time) = @_;
	return 'floor(extract(epoch FROM oracle.c()) * ' . ($time->{kind} eq 'int' ? unit_factor($time) : 1000) . ')';
}

# True where the value is an instant before the cutoff.
sub before_sql
{
	my ($time, $value, $zone) = @_;
	my $kind = $time->{kind};
	return "(isfinite($value) AND $value < oracle.c())" if $kind eq 'tz';
	return "(isfinite($value) AND $value AT TIME ZONE " . literal($zone) . " < oracle.c())" if $kind eq 'ts';
	return "(isfinite($value) AND ($value + 1)::timestamp <= date_trunc('day', oracle.c() AT TIME ZONE " . literal($zone) . '))' if $kind eq 'date';
	return '(' . number_sql($time, $value) . ' < ' . bound_sql($time) . ')';
}

# True where the value is expired; NULL and values that mean "never" included in the judgement.
sub expired_sql
{
	my ($time, $value, $zone, $never, $when_null) = @_;
	my $not_never = @$never ? " AND $value NOT IN (" . join(', ', map { "$_" . '::' . time_type($time->{kind}) } @$never) . ')' : '';
	my $old = "coalesce(" . before_sql($time, $value, $zone) . "$not_never, false)";
	return $when_null eq 'expire' ? "($value IS NULL OR $old)" : $old;
}

# True where an activity's value proves life: young, or unknown. Before all time is as old as can be.
sub alive_sql
{
	my ($time, $value, $zone) = @_;
	return "(coalesce($value <> '-infinity', true) AND ($value IS NULL OR NOT coalesce(" . before_sql($time, $value, $zone) . ', false)))' if $time->{kind} =~ /^(?:tz|ts|date)$/;
	return "($value IS NULL OR NOT coalesce(" . before_sql($time, $value, $zone) . ', false))';
}

# The value as something that sorts by age.
sub order_sql
{
	my ($time, $value, $zone) = @_;
	return $time->{kind} eq 'int' || $time->{kind} eq 'uuid' ? number_sql($time, $value) : $value;
}

1;
