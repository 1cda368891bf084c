# Prints as JSON what a message on standard input says, as MIME-tools and Encode of Perl read it.
use strict;
use warnings;
use Encode qw(decode);
use JSON::PP;
use Mail::Address;
use MIME::Base64 qw(encode_base64);
use MIME::Parser;

binmode STDIN;
my $parser = MIME::Parser->new;
$parser->output_to_core(1);
$parser->tmp_to_core(1);
$parser->decode_headers(0);
my $message = $parser->parse(\*STDIN);
my $head = $message->head;

sub field {
    my ($name) = @_;
    my $value = $head->get($name);
    return undef unless defined $value;
    $value =~ s/\r?\n(?=[ \t])//g;
    $value =~ s/\r?\n\z//;
    return $value;
}

sub words {
    my ($raw) = @_;
    return undef unless defined $raw;
    return decode('UTF-8', $raw) if $raw =~ /[^\x00-\x7f]/;
    return decode('MIME-Header', $raw);
}

sub mailboxes {
    my ($name) = @_;
    my $value = field($name);
    return [] unless defined $value;
    return [map { my $phrase = $_->phrase; $phrase =~ s/\A"(.*)"\z/$1/s; $phrase =~ s/\\(.)/$1/g;
                  [words($phrase), decode('UTF-8', $_->address)] } Mail::Address->parse($value)];
}

sub part {
    my ($entity) = @_;
    my $type = $entity->mime_type;
    return {type => $type, parts => [map { part($_) } $entity->parts]} if $entity->is_multipart;
    my $head = $entity->head;
    my $id = $head->get('Content-ID');
    chomp $id if defined $id;
    my $filename = $head->recommended_filename;
    my $disposition = $head->mime_attr('content-disposition');
    return {
        type => $type,
        charset => $head->mime_attr('content-type.charset'),
        encoding => $entity->head->mime_encoding,
        disposition => $disposition,
        filename => $filename,
        name => $head->mime_attr('content-type.name'),
        id => $id,
        body => encode_base64($entity->bodyhandle->as_string, ''),
    };
}

my %raw = map { lc($_) => field($_) } $head->tags;
print JSON::PP->new->ascii->allow_nonref->encode({
    subject => words(field('Subject')),
    raw => \%raw,
    map({ (lc($_) => mailboxes($_)) } 'From', 'To', 'Cc', 'Reply-To'),
    body => part($message),
});
