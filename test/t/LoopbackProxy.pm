# A wire that can be cut: a TCP port on loopback whose connections lead to a server's Unix socket.
package LoopbackProxy;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);

# Begins to listen; a process of its own carries the bytes.
sub new
{
	my ($class, $path) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64, ReuseAddr => 1) or die "cannot listen on loopback: $!\n";
	my $pid = fork // die "cannot fork: $!\n";
	if (!$pid)
	{
		_carry($listener, $path);
		POSIX::_exit(0);
	}
	return bless { port => $listener->sockport, pid => $pid, owner => $$ }, $class;
}

sub port { return $_[0]{port} }

# Cuts every connection there is: both ends are reset, nothing under way arrives. New ones are carried as before.
sub cut
{
	my ($self) = @_;
	kill 'USR1', $self->{pid};
	return;
}

# Cuts the oldest connection alone, in the middle: its client sees the end, its server's end stays open and says nothing.
sub lose_first
{
	my ($self) = @_;
	kill 'USR2', $self->{pid};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	return if $$ != $self->{owner};
	local ($?, $!);
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

# Serves until it is killed, or its parent is gone.
sub _carry
{
	my ($listener, $path) = @_;
	my ($is_cut, $is_lost, @clients, @silent, %other) = (0, 0);
	local $SIG{USR1} = sub { $is_cut = 1 };
	local $SIG{USR2} = sub { $is_lost = 1 };
	local $SIG{$_} = 'DEFAULT' for qw(TERM INT);
	local $SIG{PIPE} = 'IGNORE';
	my $parent = getppid;
	my $all = IO::Select->new($listener);
	my $close = sub { for my $end (@_) { $all->remove($end); delete $other{$end}; close $end } };
	while (getppid == $parent)
	{
		my @ready = $all->can_read(0.5);
		if ($is_cut)
		{
			$is_cut = 0;
			for my $end (grep { $_ != $listener } $all->handles)
			{
				setsockopt $end, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
				$close->($end);
			}
			next;
		}
		if ($is_lost)
		{
			$is_lost = 0;
			my ($first) = grep { $other{$_} } @clients;
			my $end = $other{$first};
			push @silent, $end;
			$all->remove($end);
			delete $other{$end};
			$close->($first);
			next;
		}
		for my $from (@ready)
		{
			if ($from == $listener)
			{
				my $client = $listener->accept or next;
				my $server = IO::Socket::UNIX->new(Peer => $path);
				if (!$server) { close $client; next }
				@other{ $client, $server } = ($server, $client);
				$all->add($client, $server);
				push @clients, $client;
				next;
			}
			my $to = $other{$from} or next;
			my $read = sysread $from, my $bytes, 65536;
			if (!$read) { $close->($from, $to); next }
			while (length $bytes)
			{
				my $written = syswrite $to, $bytes;
				if (!defined $written) { last if $!{EINTR} && $is_cut; next if $!{EINTR}; $close->($from, $to); last }
				substr $bytes, 0, $written, '';
			}
		}
	}
	return;
}

1;
