# The audit of a history: each row that a cleanup removed or changed is held against all that was written before, by others
# too who had not committed yet.
package StressAudit;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(audit standing);

my %action_on = (items => 'DELETE', sessions => 'DELETE', images => 'DELETE', videos => 'DELETE', lines => 'DELETE', bookings => 'UPDATE');
my %parent_of = (images => 'sessions', videos => 'sessions');

# By table and id: what became of the row, each with its place in the WAL; a row that went is undef.
my %versions;
# By table and id: the rows that stand, as far as the history has been followed.
my %standing;
# By session: its images and videos that stand. By person: the young messages that stand.
my (%children, %alive);
my @problems;

# Rows that stand at the end of the history, by table and id.
sub standing { return \%standing }

# Whether a time lies before all cutoffs. An unknown one does not.
sub is_due { my ($time) = @_; return $time lt "'2021" && $time gt "'" }

sub problem { my ($claim, $text) = @_; push @problems, [ $claim, $text ]; return }

# The row as it was written last before a place, committed by then or not; what was undone is not in the history.
sub row_before
{
	my ($table, $id, $place) = @_;
	my $list = $versions{$table}{$id} // return;
	my ($low, $high) = (0, scalar @$list);
	while ($low < $high)
	{
		my $middle = int(($low + $high) / 2);
		if ($list->[$middle][0] < $place) { $low = $middle + 1 }
		else { $high = $middle }
	}
	return $low == 0 ? undef : $list->[ $low - 1 ][1];
}

# Reads who wrote what into %versions.
sub note_versions
{
	for my $change (map { @{ $_->{changes} } } @_)
	{
		push @{ $versions{ $change->{table} }{ $change->{row}{id} } }, [ $change->{place}, $change->{action} eq 'DELETE' ? undef : $change->{row} ];
	}
	for my $table (values %versions)
	{
		@$_ = sort { $a->[0] <=> $b->[0] } @$_ for values %$table;
	}
	return;
}

# Takes a row away from what stands, or adds it.
sub stand
{
	my ($table, $row, $is_there) = @_;
	my $id = $row->{id};
	if (my $parent = $parent_of{$table})
	{
		if ($is_there) { $children{ $row->{session_id} }{"$table $id"} = 1 }
		else { delete $children{ $row->{session_id} }{"$table $id"} }
	}
	elsif ($table eq 'messages' && $row->{sender} eq "'user'" && !is_due($row->{at}))
	{
		if ($is_there) { $alive{ $row->{person_id} }{$id} = 1 }
		else { delete $alive{ $row->{person_id} }{$id} }
	}
	if ($is_there) { $standing{$table}{$id} = $row }
	else { delete $standing{$table}{$id} }
	return;
}

# Follows one transaction. Every change must find the row that the history has.
sub follow
{
	my ($transaction) = @_;
	for my $change (@{ $transaction->{changes} })
	{
		my ($table, $action, $row) = @$change{qw(table action row)};
		my $known = $standing{$table}{ $row->{id} };
		problem('replay', "$action of $table $row->{id} in $transaction->{xid} does not fit the history") if ($action eq 'INSERT') == defined $known;
		stand($table, $known, 0) if $known;
		stand($table, $row, 1) if $action ne 'DELETE';
	}
	return;
}

# G1 for one row: what it and its subject were, by all that was written before the last removal of the batch; a subject is
# looked at once more after that.
sub judge
{
	my ($change, $last) = @_;
	my ($table, $id) = ($change->{table}, $change->{row}{id});
	my $row = row_before($table, $id, $change->{place}) // return "$table $id was not there";
	if ($table eq 'items')
	{
		my $cart = row_before('carts', $row->{cart_id}, $last) // return "items $id had no cart";
		my $user = row_before('users', $cart->{user_id}, $last) // return "items $id had no user";
		return is_due($user->{last_active}) ? undef : "items $id was of user $user->{id}, active $user->{last_active}";
	}
	return is_due($row->{at}) ? undef : "lines $id was of $row->{at}" if $table eq 'lines';
	if ($table eq 'bookings')
	{
		return "bookings $id was $row->{status} of $row->{at}" unless $row->{status} eq "'Pending'" && is_due($row->{at});
		return $change->{row}{status} eq "'Expired'" ? undef : "bookings $id became $change->{row}{status}";
	}
	return unless $table eq 'sessions';
	my @messages = keys %{ $alive{ $row->{person_id} } // {} };
	return @messages ? "sessions $id was of person $row->{person_id}, alive by message $messages[0]" : undef;
}

# One batch, after the transactions that committed before it and before it is followed itself.
sub audit_batch
{
	my ($batch, $sum) = @_;
	my @changes = @{ $batch->{changes} };
	my $last = @changes ? $changes[-1]{place} : 0;
	my (%counted, %going);
	for my $change (@changes)
	{
		my ($table, $id) = ($change->{table}, $change->{row}{id});
		$counted{"public.$table"}++;
		$sum->{$table}++;
		problem('G2', "$change->{action} of $table $id in batch $batch->{xid}") if ($action_on{$table} // '') ne $change->{action};
		$going{$id} = 1 if $table eq 'sessions';
		my $wrong = judge($change, $last);
		problem('G1', "$wrong (batch $batch->{xid})") if $wrong;
	}
	for my $change (grep { $parent_of{ $_->{table} } } @changes)
	{
		my $child = $standing{ $change->{table} }{ $change->{row}{id} };
		problem('G3', "$change->{table} $change->{row}{id} went without its session in batch $batch->{xid}") unless $child && $going{ $child->{session_id} };
	}
	my %told;
	$told{ $_->{relation} } += $_->{rows} for @{ $batch->{ledger} };
	for my $table (keys %{ { %told, %counted } })
	{
		problem('G4', "batch $batch->{xid}: " . ($told{$table} // 0) . " rows of $table told, " . ($counted{$table} // 0) . ' gone') if ($told{$table} // 0) != ($counted{$table} // 0);
	}
	return keys %going;
}

# Audits a history; gives the problems, each a claim and what speaks against it, and the sums.
sub audit
{
	my @transactions = @_;
	my %sum = (batches => 0, transactions => scalar @transactions);
	note_versions(@transactions);
	for my $transaction (@transactions)
	{
		my $is_batch = @{ $transaction->{ledger} } > 0;
		my @gone = $is_batch ? audit_batch($transaction, \%sum) : ();
		$sum{batches}++ if $is_batch;
		$sum{changes} += @{ $transaction->{changes} };
		problem('G4', "transaction $transaction->{xid} of a run changed rows without the ledger") if $transaction->{is_run} && !$is_batch && @{ $transaction->{changes} };
		problem('G4', "transaction $transaction->{xid} is of a writer and of a run") if $transaction->{is_writer} && $is_batch;
		follow($transaction);
		for my $session (@gone)
		{
			problem('G3', "session $session went without " . join ', ', keys %{ $children{$session} }) if %{ $children{$session} // {} };
		}
	}
	return (\@problems, \%sum);
}

1;
