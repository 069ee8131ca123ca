# A session with a server that is expected to die: it speaks the protocol itself, so that a question costs no new process, and a
# connection that is lost, or refused, is an answer like another.
package ServerSession;

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IO::Socket::UNIX;

our @EXPORT = qw(ask answer hang_up);

my $patience = 240;    # seconds for one answer
my $protocol = 196608; # 3.0

# Connects to a server of this machine that trusts its user; nothing where it lets nobody in.
sub new
{
	my ($class, $server, $user) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $server->host . '/.s.PGSQL.' . $server->port) or return;
	my $self = bless { socket => $socket, buffer => '' }, $class;
	my $hello = pack 'N (Z*)*', $protocol, user => $user // scalar getpwuid($<), database => 'postgres', application_name => 'test', '';
	my ($end, $error) = $self->_send(pack('N', 4 + length $hello) . $hello) ? $self->_listen : ();
	return defined $end && !defined $error ? $self : undef;
}

sub _send
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';
	while (length $bytes)
	{
		my $written = syswrite $self->{socket}, $bytes;
		next if !defined $written && $!{EINTR};
		return 0 if !$written;
		substr $bytes, 0, $written, '';
	}
	return 1;
}

# So many bytes from the server; nothing where it has hung up.
sub _take
{
	my ($self, $count) = @_;
	while (length $self->{buffer} < $count)
	{
		IO::Select->new($self->{socket})->can_read($patience) || $!{EINTR} or die "the server says nothing\n";
		my $read = sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer};
		next if !defined $read && $!{EINTR};
		return if !$read;
	}
	return substr $self->{buffer}, 0, $count, '';
}

# What the server says until it is ready again: the rows as psql -At shows them, and the message of the first error. Nothing where the
# connection ends.
sub _listen
{
	my ($self) = @_;
	my (@rows, $error);
	while (defined(my $head = $self->_take(5)))
	{
		my ($kind, $length) = unpack 'a N', $head;
		my $body = $self->_take($length - 4);
		last if !defined $body;
		return (join("\n", @rows), $error) if $kind eq 'Z';
		if ($kind eq 'D')
		{
			my ($columns, @row) = (unpack('n', $body));
			for (my $at = 2; $columns--;)
			{
				my $size = unpack 'l>', substr $body, $at, 4;
				push @row, $size < 0 ? '' : substr $body, $at + 4, $size;
				$at += 4 + ($size < 0 ? 0 : $size);
			}
			push @rows, join '|', @row;
		}
		elsif ($kind eq 'E')
		{
			my %field = map { /^(.)(.*)$/s } unpack '(Z*)*', $body;
			$error //= "$field{C}: $field{M}";
		}
		elsif ($kind eq 'R' && unpack('N', $body) != 0) { $error = 'the server trusts nobody' }
	}
	return;
}

# The rows of statements that are one transaction together, and the error; no rows where the connection was lost.
sub query
{
	my ($self, $sql) = @_;
	utf8::encode($sql) if utf8::is_utf8($sql);
	return $self->_send(pack 'a N Z*', 'Q', 5 + length $sql, $sql) ? $self->_listen : ();
}

# Ends the session, whoever else may hold its socket.
sub end
{
	my ($self) = @_;
	$self->_send(pack 'a N', 'X', 4);
	shutdown $self->{socket}, 2;
	return;
}

my %session_with;

# The rows of statements, each call of them one transaction, and the error; no rows where the server does not answer. The session with a
# server is kept from one question to the next.
sub _query
{
	my ($server, @statements) = @_;
	my ($rows, $error);
	for my $sql (@statements)
	{
		my $name = $server->name;
		my $session = $session_with{$name} //= ServerSession->new($server) or return (undef, 'the server does not answer');
		($rows, $error) = $session->query($sql);
		delete $session_with{$name} if !defined $rows;
		return (undef, $error // 'the connection was lost') if !defined $rows || defined $error;
	}
	return $rows;
}

# The rows of the last of some statements, each a transaction; dies where there is an error or no answer.
sub ask
{
	my ($server, @statements) = @_;
	my ($rows, $error) = _query($server, @statements);
	die "$error\nof: @statements\n" if !defined $rows;
	return $rows;
}

# The same; gives nothing where there is an error or no answer.
sub answer
{
	my ($server, @statements) = @_;
	return (_query($server, @statements))[0];
}

# Ends the session that is kept with a server: the next question is a new one's.
sub hang_up
{
	my ($server) = @_;
	my $session = delete $session_with{ $server->name } or return;
	$session->end;
	return;
}

1;
