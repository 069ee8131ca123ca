# What was ever written, read back from the WAL by test_decoding: every change of every transaction that committed, with its
# own place in the WAL, in the order of commits.
package StressHistory;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(begin_history read_history);

# From now on all that is written is remembered.
sub begin_history
{
	my ($server) = @_;
	$server->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('history', 'test_decoding')});
	return;
}

# A place in the WAL as a number.
sub place
{
	my ($text) = @_;
	my ($high, $low) = split m{/}, $text;
	return hex($high) * 4294967296 + hex($low);
}

# The columns of a row as test_decoding shows it.
sub columns
{
	my ($text) = @_;
	return { $text =~ /(\w+)\[[^\]]+\]:('(?:[^']|'')*'|\S+)/g };
}

# Adds what one line tells of the transaction to it.
sub note_change
{
	my ($transaction, $place, $line) = @_;
	my ($schema, $table, $action, $rest) = $line =~ /^table (\w+)\.(\w+): (\w+): (.*)$/s or return;
	if ($schema eq 'retention')
	{
		my $row = columns($rest);
		push @{ $transaction->{ledger} }, { relation => $row->{relation} =~ tr/'//dr, rows => $row->{affected} } if $table eq 'batch' && $action eq 'INSERT';
		$transaction->{is_run} = 1 if $table eq 'run';
		return;
	}
	$table =~ s/_\d+$//;
	return $transaction->{is_writer} = 1 if $table eq 'marks';
	return if $table eq 'problems';
	$rest =~ s/^.*new-tuple: //s;
	push @{ $transaction->{changes} }, { place => $place, action => $action, table => $table, row => columns($rest) };
	return;
}

# The transactions in the order of their commits, each with its changes in their own order; forgets them in the server.
sub read_history
{
	my ($server) = @_;
	my (@transactions, $open);
	while (1)
	{
		my $part = $server->safe_psql('postgres', q{SELECT lsn, xid, data FROM pg_logical_slot_get_changes('history', NULL, 50000, 'skip-empty-xacts', '1')});
		last if $part eq '';
		for (split /\n/, $part)
		{
			my ($lsn, $xid, $line) = split /\|/, $_, 3;
			if ($line =~ /^BEGIN/) { $open = { xid => $xid, changes => [], ledger => [] } }
			elsif ($line =~ /^COMMIT/) { push @transactions, $open }
			else { note_change($open, place($lsn), $line) }
		}
	}
	return @transactions;
}

1;
