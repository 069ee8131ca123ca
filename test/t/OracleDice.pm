# Chance that can be repeated: every draw of a case comes from its seed.
package OracleDice;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(throw_dice chance roll pick pick_by some ident literal ident_list literal_list);

# Starts the sequence that belongs to a seed.
sub throw_dice { my ($seed) = @_; srand($seed); rand() for 1 .. 3; return }

# True with the probability given.
sub chance { my ($probability) = @_; return rand() < $probability }

# A whole number between the two, both included.
sub roll { my ($low, $high) = @_; return $low + int(rand() * ($high - $low + 1)) }

# One of the list; undef of an empty one.
sub pick { return @_ ? $_[ int(rand() * @_) ] : undef }

# One of the keys, each as likely as its weight: pick_by(a => 3, b => 1).
sub pick_by
{
	my @pairs = @_;
	my @bag;
	while (my ($what, $weight) = splice(@pairs, 0, 2)) { push @bag, ($what) x $weight }
	return pick(@bag);
}

# `count` different members of the list, in random order; all of them where there are fewer.
sub some
{
	my ($count, @list) = @_;
	my @out;
	push @out, splice(@list, int(rand() * @list), 1) while @list && @out < $count;
	return @out;
}

sub ident { my ($name) = @_; $name =~ s/"/""/g; return qq("$name") }

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'" if $text !~ /\\/;
	$text =~ s/\\/\\\\/g;
	return "E'$text'";
}

sub ident_list { my ($alias, @names) = @_; return join ', ', map { "$alias." . ident($_) } @names }

sub literal_list { return join ', ', map { literal($_) } @_ }

1;
