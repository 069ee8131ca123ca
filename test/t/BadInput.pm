# Cases of bad input: from a number to the call of one SQL function, and from what psql says of it to a verdict.
package BadInput;

use strict;
use warnings;

use BadInputWords;
use Digest::MD5 qw(md5);
use Exporter 'import';
use OracleDice;

our @EXPORT = qw(make_call call_script documented judge_output);

# Calls that are right, with their arguments as SQL, so that what is made hostile in them is reached.
my %right = (
	add_policy => [
		{ name => q{'p'}, target => q{'public.events'}, expire_after => q{'90 days'}, time_column => q{'at'}, condition => q{'target.ok'} },
		{ name => q{'p'}, target => q{'public.events'}, expire_after => q{'90 days'}, time_column => q{'at_ms'}, time_unit => q{'ms'}, never => q{'{0,-1}'}, when_null => q{'expire'} },
		{ name => q{'p'}, target => q{'public.events'}, expire_after => q{'90 days'}, time_columns => q{'{at,day}'}, time_match => q{'any'}, time_zone => q{'Europe/Berlin'}, max_rows => '10', max_fraction => '0.5' },
		{ name => q{'p'}, target => q{'public.events'}, expiry_expression => q{'target.at + target.ttl'}, keep_latest => '1', keep_per => q{'{tenant}'} },
		{ name => q{'p'}, target => q{'public.events'}, expire_after => q{'90 days'}, time_column => q{'at'}, action => q{'update'}, set_clause => q{'note = ''old'''}, condition => q{'note <> ''old'''} },
		{ name => q{'p'}, target => q{'public.node'}, expire_after => q{'90 days'}, time_column => q{'at'}, action => q{'archive'}, dependents => q{'cascade'}, run_order => '3' },
		{ name => q{'p'}, target => q{'public.cart_items'}, expire_after => q{'90 days'}, time_column => q{'last_active'}, subject => q{'public.users'}, path => q{'{cart_items_cart_id_fkey,carts_user_id_fkey}'}, condition => q{'subject.name <> '''''} },
		{ name => q{'p'}, target => q{'public.carts'}, expire_after => q{'1 day'}, subject => q{'public.users'}, paused => 'true', if_not_exists => 'true' },
		{ name => q{'p'}, target => q{'public."Ev''il""; DROP TABLE x; --"'}, expire_after => q{'90 days'}, time_column => q{'at";--'}, action => q{'update'}, set_clause => q{'" target SET " = '';'''}, condition => q{'" AS pg_retention_expression FROM" = 1'} },
	],
	alter_policy => [ map { { name => $_->[0], $_->[1] => $_->[2] } } [ q{'stored'}, 'expire_after', q{'1 day'} ], [ q{'update'}, 'set_clause', q{'note = NULL'} ], [ q{'latest'}, 'condition', q{'true'} ], [ q{'archive'}, 'reset', q{'{condition}'} ], [ q{'alive'}, 'reset', q{'{activities}'} ], [ q{'stored'}, 'max_rows', '1' ], [ q{'inactive_carts'}, 'condition', q{'subject.name <> '''''} ] ],
	add_activity => [ { policy => q{'waiting'}, relation => q{'public.messages'}, time_column => q{'timestamp'}, join_condition => q{'activity.user_id = subject.id'}, condition => q{'activity.sender = ''user'''} }, { policy => q{'alive'}, relation => q{'public.events'}, time_column => q{'at_ms'}, join_condition => q{'activity.tenant = subject.id'}, time_unit => q{'ms'}, time_zone => q{'UTC'} } ],
	add_dependent => [ { policy => q{'update'}, relation => q{'public.leaf'}, action => q{'set_null'} }, { policy => q{'stored'}, relation => q{'public.leaf'}, join_condition => q{'dependent.other = target.tenant'}, action => q{'delete'} }, { policy => q{'latest'}, relation => q{'public.node'}, action => q{'refuse'}, parent => q{'public.node'} } ],
	adopt_preset => [ { name => q{'old_cart_items'} }, { name => q{'inactive_sessions'}, activity_condition => q{'activity.sender = ''user'''} }, { name => q{'pending_bookings'}, condition => q{'status = ''Pending'''}, set_clause => q{'status = ''Expired'''} }, { name => q{'inactive_carts'}, if_not_exists => 'true' }, { name => q{'pending_bookings'}, target => q{'public.events'}, time_column => q{'at'}, condition => q{'ok'}, set_clause => q{'ok = false'}, time_zone => q{'UTC'}, expire_after => q{'1 day'} } ],
	add_hold => [ { relation => q{'public.node'}, condition => q{'target.note = '';'''}, reason => q{'court'} }, { relation => q{'public.users'}, key => q{'{"id": 4}'::jsonb}, reason => q{'court'}, until => q{'2100-01-01'} } ],
	restore => [ { run_id => '1' }, { run_id => '1', partial => 'true' } ],
	add_purge => [ { policy => q{'archive'}, expire_after => q{'1 year'}, run_order => '1', if_not_exists => 'true' } ],
	approve => [ { policy => q{'fused'}, run_id => q{(SELECT f.run FROM retention.fuses AS f WHERE f.policy = 'fused')}, reason => q{'seen'} } ],
	retry_failures => [ { policy => q{'failing'} }, {} ],
	has_archived_rows => [ { run_id => '1' } ],
	preview => [ { policy => q{'fused'}, as_of => q{'2020-01-01'}, sample => '3' }, { policy => q{'failing'} } ],
	apply => [ map { { policy => $_ } } q{'fused'}, q{'failing'}, q{'stored'} ],
	run => [ { policy => q{'failing'}, batch_rows => '1' }, { policy => q{'fused'}, max_rows => '1', strict => 'false' }, { policy => q{'stored'}, slice => '1', slices => '2', sleep => q{'1 ms'} } ],
	check => [ { policy => q{'failing'} }, { policy => q{'fused'} } ],
	explain => [ { policy => q{'fused'} } ],
	release_hold => [ { id => '1', reason => q{'settled'} } ],
	import_policies => [ { policies => q{retention.export_policies()}, dry_run => 'false' } ],
	cleanup_inactive_sessions_for_user => [ { user_id => q{'1'} } ]);

# What an argument of a function may rightly be, where nothing is written down for the function.
my %usual = (policy => q{'stored'}, name => q{'stored'}, relation => q{'public.events'}, target => q{'public.events'}, condition => q{'true'}, reason => q{'asked for'}, key => q{'1'}, run_id => '1', result => 'NULL', results => 'NULL');

my @defining = qw(add_policy add_policy add_policy add_policy alter_policy add_activity add_dependent adopt_preset import_policies add_hold);

# A call: its SQL, and what it is of.
sub make_call
{
	my ($seed, $encoding, $functions) = @_;
	# Neighbouring numbers would begin alike.
	throw_dice(unpack 'L', md5("case $seed"));
	my $wanted = chance(0.55) ? pick(@defining) : '';
	my @candidates = grep { $functions->{$_}{name} eq $wanted } sort keys %$functions;
	my $function = $functions->{ pick(@candidates ? @candidates : sort keys %$functions) };
	my $name = $function->{name};
	my $is_right = chance(0.8);
	my %takes = map { $_->{name} => 1 } @{ $function->{arguments} };
	my @known = grep { my $call = $_; !grep { !$takes{$_} } keys %$call } @{ $right{$name} || [] };
	my $known = @known ? pick(@known) : { map { $_->{name} => $usual{ $_->{name} } } grep { exists $usual{ $_->{name} } } @{ $function->{arguments} } };
	my %given = $is_right ? %$known : ();
	my @arguments = @{ $function->{arguments} };
	my @hostile = $is_right ? some(pick(0, 1, 1, 1, 2, 2), @arguments) : grep { !$_->{is_optional} || chance(0.3) } @arguments;
	$given{ $_->{name} } = hostile_value($_->{type}, $_->{name}, $encoding) for @hostile;
	for my $argument (@arguments)
	{
		$given{ $argument->{name} } = hostile_value($argument->{type}, $argument->{name}, $encoding) if !$argument->{is_optional} && !exists $given{ $argument->{name} };
	}
	my @setting = chance(@hostile ? 0.2 : 0.8) ? grep { !$function->{is_procedure} || !/^transaction/ } hostile_settings() : ();
	my $call = "$function->{sql}(" . join(', ', map { _ident($_->{name}) . " => $given{$_->{name}}" } grep { exists $given{ $_->{name} } } @arguments) . ')';
	return { seed => $seed, signature => $function->{signature}, is_procedure => $function->{is_procedure}, settings => \@setting, call => $call };
}

sub _ident { my ($name) = @_; return qq("$name") }

# The lines of psql that make the call and hold against it what must be true.
sub call_script
{
	my ($case) = @_;
	my ($seed, @settings) = ($case->{seed}, @{ $case->{settings} });
	my $script = "\\warn @@ $seed begin\n";
	if ($case->{is_procedure})
	{
		$script .= "SET $_;\n" for @settings;
		$script .= "\\warn @@ $seed call\nCALL $case->{call};\n\\set failed :ERROR\n\\warn @@ $seed called\n";
		$script .= "RESET $_;\n" for map { /^([\w.]+)/ } @settings;
		return $script . "SELECT bad.after_call($seed, :'failed');\n";
	}
	$script .= "BEGIN;\n";
	$script .= "SET LOCAL $_;\n" for @settings;
	$script .= "SELECT bad.settle();\n" if @settings;
	$script .= "SAVEPOINT s;\n\\warn @@ $seed call\nSELECT bad.said($seed, pg_catalog.to_jsonb(f)) FROM $case->{call} AS f;\n";
	$script .= "\\set failed :ERROR\n\\warn @@ $seed called\n\\if :failed\nROLLBACK TO s;\nSELECT bad.compare($seed);\n\\else\nSELECT bad.follow($seed);\n\\endif\nROLLBACK;\n";
	return $script;
}

# What doc/errors.md says: patterns of messages by SQLSTATE.
sub documented
{
	my ($text) = @_;
	my %patterns;
	while ($text =~ /^\| E\d+ \| `(\w{5})` \| (.*?) \| /mg)
	{
		my ($state, $message) = ($1, $2);
		for my $form ($message, split /; /, $message)
		{
			$form =~ s/ \(WARNING\)$//;
			my $pattern = join '.*', map { my $part = quotemeta; $part =~ s/\d+/-?\\d+/g; $part } split /\*[^*]+\*/, $form, -1;
			push @{ $patterns{$state} }, qr/^$pattern$/s;
		}
	}
	return \%patterns;
}

# SQLSTATEs that the server gives to SQL that cannot be done, whoever wrote it.
my $of_the_server = qr/^(?:0A|21|22|23|25|2B|2D|42|44|54)\w{3}$|^55000$|^55006$|^2201\w$|^P0001$/;

sub _is_documented { my ($patterns, $state, $message) = @_; return scalar grep { $message =~ $_ } @{ $patterns->{$state} || [] } }

# What is wrong with an error.
sub _wrong_with
{
	my ($patterns, $state, $message, $location) = @_;
	my @wrong;
	push @wrong, "internal error $state: $message" if $state =~ /^(?:XX|58|53|08|F0)/;
	push @wrong, "SQLSTATE $state is in no list: $message" if $state !~ $of_the_server && !$patterns->{$state};
	return @wrong if $location !~ /guard\.cpp/;
	push @wrong, "not in doc/errors.md: $state $message" unless _is_documented($patterns, $state, $message);
	push @wrong, "style: $message" if $message =~ /^[A-Z](?!\w*[A-Z])|\.\s*$|^\s|\bcan not\b|basic_string|std::|stoul|stoll|vector|map::/;
	push @wrong, 'a message of ' . length($message) . ' bytes: ' . substr($message, 0, 100) if length($message) > 1000;
	return @wrong;
}

# Of two states, the words in which they differ.
sub _difference
{
	my ($text) = @_;
	my ($is, $was) = split / BUT WAS /, $text, 2;
	return $text unless defined $was;
	my (%is, %was);
	@is{ split ' ', $is } = ();
	@was{ split ' ', $was } = ();
	return join(' ', grep { !exists $was{$_} } sort keys %is) . ' BUT WAS ' . join(' ', grep { !exists $is{$_} } sort keys %was);
}

# What psql said of a session's cases: findings by seed, and counts.
sub judge_output
{
	my ($patterns, $output, $count) = @_;
	my (%wrong, $seed, $error, $into);
	my $is_called = 0;
	my $finish = sub {
		return unless $error;
		$count->{errors}{ $error->{state} }++;
		push @{ $wrong{ $seed // 0 } }, "beside the call: $error->{state} $error->{message}" if !$is_called;
		push @{ $wrong{ $seed // 0 } }, _wrong_with($patterns, @$error{qw(state message)}, $error->{location} // '');
		push @{ $wrong{$seed} }, "style of hint or detail: $_" for grep { ($error->{location} // '') =~ /guard\.cpp/ && !/[.);]\s*$/ } @{ $error->{more} };
		undef $error;
	};
	for my $line (split /\n/, $output)
	{
		if ($line =~ /(?:^|INFO:  \w{5}: )@@ (\d+) (.*)$/s)
		{
			$finish->();
			$seed = $1;
			my ($what, $rest) = split / /, $2, 2;
			if ($what eq 'begin') { $count->{cases}++; $is_called = 0 }
			elsif ($what =~ /^call(ed)?$/) { $is_called = !$1 }
			elsif ($what eq 'defined') { $count->{defined}++ }
			elsif ($what =~ /^(?:told|explain|preview|run)$/)
			{
				my ($state, $message) = split / /, $rest, 2;
				$count->{told}{$state}++;
				push @{ $wrong{$seed} }, map {"$what: $_"} _wrong_with($patterns, $state, $message // '', '');
			}
			else { push @{ $wrong{$seed} }, "$what: " . _difference($rest // '') }
		}
		elsif ($line =~ /^psql:\S+: (?:ERROR|FATAL|PANIC):  (\w{5}): (.*)$/) { $finish->(); $error = { state => $1, message => $2, more => [] }; $into = \$error->{message} }
		elsif ($error && $line =~ /^(?:DETAIL|HINT):  (.*)$/) { push @{ $error->{more} }, $1; $into = \$error->{more}[-1] }
		elsif ($error && $line =~ /^LOCATION:  (.*)$/) { $error->{location} = $1; $finish->() }
		elsif ($error && $line =~ /^(?:LINE \d+|QUERY|CONTEXT|[A-Z]+ NAME): /) { $into = \my $unused }
		elsif ($line =~ /server closed the connection|connection to server was lost|terminating connection/) { push @{ $wrong{ $seed // 0 } }, "the session ended: $line" }
		elsif ($error) { $$into .= "\n$line" }
	}
	$finish->();
	return { map { @{ $wrong{$_} } ? ($_ => $wrong{$_}) : () } keys %wrong };
}

1;
