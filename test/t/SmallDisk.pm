# Small disks of our own, that a server can fill: tmpfs in a name space of an ordinary user, as far as the system permits that.
package SmallDisk;

use strict;
use warnings;

use IPC::Run ();

# Mounts so many kilobytes over each folder, for programs that are run there alone. Dies with the reason where that is not permitted.
sub new
{
	my ($class, %kilobytes) = @_;
	my @mounts = map { qq{mount -t tmpfs -o "size=$kilobytes{$_}k,mode=700" none '$_'} } sort keys %kilobytes;
	my ($in, $out, $err) = ('', '', '');
	my $holder = eval {
		my $started = IPC::Run::start([ 'unshare', '--user', '--map-current-user', '--keep-caps', '--mount', 'sh', '-c', join(' && ', @mounts, 'echo $$', 'exec cat') ],
			'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
		$started->pump until $out =~ /^\d+\n/ || !$started->pumpable;
		$started;
	};
	$err = $@ if !$holder;
	my ($pid) = $out =~ /^(\d+)\n/ or die 'no user may mount here: ' . ($err =~ s/\s+/ /gr) . "\n";
	return bless { holder => $holder, pid => $pid }, $class;
}

# The command that runs a program where the disks are.
sub on
{
	my ($self, @command) = @_;
	return ('nsenter', '--target', $self->{pid}, '--user', '--mount', '--preserve-credentials', @command);
}

# Runs a program where the disks are.
sub run
{
	my ($self, @command) = @_;
	return system($self->on(@command)) == 0;
}

# Fills a disk up to so many kilobytes.
sub leave
{
	my ($self, $folder, $kilobytes) = @_;
	return $self->run('sh', '-c', 'free=$(df -k --output=avail "$0" | tail -1); head -c $(((free - $1) * 1024)) /dev/zero > "$0/ballast"', $folder, $kilobytes);
}

# Frees what was filled.
sub free { my ($self, $folder) = @_; return $self->run('rm', '-f', "$folder/ballast") }

# Lets the disks go; nothing may be open on them.
sub drop { my ($self) = @_; $self->{holder}->kill_kill(grace => 5); return }

1;
