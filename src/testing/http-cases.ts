/** A rule of HTTP/1.1 with the bytes that try it. */
export interface HttpCase {
  says: string
  bytes: string
  /** As `summaryOf` of parser-record.ts writes it: requests, then the status of a refusal. */
  gives: (string | number)[]
  /** Why llhttp, or node:http around it, takes what is refused here; absent: they refuse it too. */
  laxElsewhere?: string
}

const post = (...fields: string[]): string => `POST /x HTTP/1.1\r\n${['Host: a', ...fields].join('\r\n')}\r\n\r\n`
const get = (...fields: string[]): string => `GET /x HTTP/1.1\r\n${['Host: a', ...fields].join('\r\n')}\r\n\r\n`
const line = (requestLine: string): string => `${requestLine}\r\nHost: a\r\n\r\n`
const sized = (body: string, ...fields: string[]): string => post(...fields, `Content-Length: ${body.length}`) + body
const chunked = (chunks: string, ...fields: string[]): string => post(...fields, 'Transfer-Encoding: chunked') + chunks
const HELLO = '5\r\nhello\r\n0\r\n\r\n'

/** In the order of RFC 9112; the numbers are its sections, those with a dot behind RFC 9110's. */
export const httpCases: HttpCase[] = [
  // 2, 3: messages and request lines
  { says: '2.2: an empty line before a request is overlooked', bytes: `\r\n${get()}`, gives: ['GET /x'] },
  {
    says: '2.2: an empty line behind a body is overlooked',
    bytes: `${sized('hi')}\r\n${get()}`,
    gives: ['POST /x hi', 'GET /x'],
  },
  {
    says: '2.2: empty lines without end are no request',
    bytes: '\r\n'.repeat(50) + get(),
    gives: [400],
    laxElsewhere: 'any number',
  },
  { says: '2.2: a line may not end with a line feed alone', bytes: 'GET /x HTTP/1.1\nHost: a\n\n', gives: [400] },
  {
    says: '2.2: not even one line may end with a line feed alone',
    bytes: 'GET /x HTTP/1.1\r\nHost: a\nX: b\r\n\r\n',
    gives: [400],
  },
  { says: '2.2: a bare carriage return ends no line', bytes: 'GET /x HTTP/1.1\r\nHost: a\rX: b\r\n\r\n', gives: [400] },
  {
    says: '2.2: white space before the first field is refused',
    bytes: `GET /x HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n`,
    gives: [400],
  },
  { says: '2.2: what is no HTTP at all is refused', bytes: 'hello\r\n\r\n', gives: [400] },
  { says: '2.2: NULs are refused at once', bytes: '\0\0\0\0', gives: [400] },
  { says: '2.2: TLS on a plain port is refused at once', bytes: '\x16\x03\x01\x02\x00\x01\x00', gives: [400] },
  { says: '2.3: HTTP/2.0 in the request line is refused', bytes: line('GET /x HTTP/2.0'), gives: [400] },
  { says: '2.3: HTTP/0.9 in the request line is refused', bytes: line('GET /x HTTP/0.9'), gives: [400] },
  { says: '2.3: HTTP/1.2 in the request line is refused', bytes: line('GET /x HTTP/1.2'), gives: [400] },
  { says: '2.3: the preface of HTTP/2 is refused', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', gives: [400] },
  { says: '2.3: the version is written in capitals', bytes: line('GET /x http/1.1'), gives: [400] },
  {
    says: '2.3: another protocol is refused',
    bytes: line('GET /x RTSP/1.0'),
    gives: [400],
    laxElsewhere: 'llhttp speaks RTSP too',
  },
  { says: '2.3: a version with two digits is refused', bytes: line('GET /x HTTP/1.10'), gives: [400] },
  { says: '3: a request line without version is refused', bytes: 'GET /x\r\nHost: a\r\n\r\n', gives: [400] },
  {
    says: '3: two blanks in the request line are refused',
    bytes: line('GET  /x HTTP/1.1'),
    gives: [400],
    laxElsewhere: 'skips them',
  },
  { says: '3: a tab in the request line is refused', bytes: line('GET\t/x HTTP/1.1'), gives: [400] },
  { says: '3: a blank at the end of the request line is refused', bytes: line('GET /x HTTP/1.1 '), gives: [400] },
  { says: '3.1: a method that nobody knows is not served', bytes: line('BREW /x HTTP/1.1'), gives: [400] },
  { says: '3.1: methods are written in capitals', bytes: line('get /x HTTP/1.1'), gives: [400] },
  { says: '3.1: the tunnels of CONNECT are not offered', bytes: line('CONNECT a:80 HTTP/1.1'), gives: [400] },
  {
    says: '3.2: the target keeps its query as it is',
    bytes: line('GET /x?a=%20&b=c?d HTTP/1.1'),
    gives: ['GET /x?a=%20&b=c?d'],
  },
  { says: '3.2: a target without a slash is refused', bytes: line('GET x HTTP/1.1'), gives: [400] },
  {
    says: '3.2: a fragment in the target is refused',
    bytes: line('GET /x#y HTTP/1.1'),
    gives: [400],
    laxElsewhere: 'takes it',
  },
  { says: '3.2: a byte beyond ASCII in the target is refused', bytes: line('GET /\x80 HTTP/1.1'), gives: [400] },
  { says: '3.2: a control character in the target is refused', bytes: line('GET /\x01 HTTP/1.1'), gives: [400] },
  {
    says: '3.2.2: an absolute target is taken by its path',
    bytes: line('GET http://b/x?y HTTP/1.1'),
    gives: ['GET /x?y'],
  },
  {
    says: '3.2.2: an absolute target without a path means the root',
    bytes: line('GET http://b HTTP/1.1'),
    gives: ['GET /'],
  },
  {
    says: '3.2.2: an absolute target with a user is refused',
    bytes: line('GET http://u@b/x HTTP/1.1'),
    gives: [400],
    laxElsewhere: 'passes it on',
  },
  { says: '3.2.2: another scheme than http is refused', bytes: line('GET ftp://b/x HTTP/1.1'), gives: [400] },
  { says: '3.2.4: OPTIONS may ask for the server as a whole', bytes: line('OPTIONS * HTTP/1.1'), gives: ['OPTIONS *'] },
  { says: '3.2.4: nobody else may', bytes: line('GET * HTTP/1.1'), gives: [400] },
  { says: '3.2: HTTP/1.1 without Host is refused', bytes: 'GET /x HTTP/1.1\r\n\r\n', gives: [400] },
  { says: '3.2: HTTP/1.0 without Host is taken', bytes: 'GET /x HTTP/1.0\r\n\r\n', gives: ['GET /x (close)'] },
  { says: '3.2: two Hosts are refused', bytes: get('Host: b'), gives: [400] },
  { says: '3.2: two equal Hosts are refused', bytes: get('host: a'), gives: [400] },
  {
    says: '3.2: a Host that is none is refused',
    bytes: 'GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n',
    gives: [400],
    laxElsewhere: 'takes any',
  },
  {
    says: '3.2: a Host with port and brackets is taken',
    bytes: 'GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n',
    gives: ['GET /x'],
  },
  // 5: fields
  { says: '5: a field without value is taken', bytes: get('X:'), gives: ['GET /x'] },
  {
    says: '5: blanks around a value are dropped',
    bytes: sized('hi', 'Content-Type: \t text/plain \t '),
    gives: ['POST /x hi'],
  },
  { says: '5.1: white space before the colon is refused', bytes: `${post('Content-Length : 2')}hi`, gives: [400] },
  { says: '5.1: a tab before the colon is refused', bytes: `${post('Content-Length\t: 2')}hi`, gives: [400] },
  { says: '5: a line without colon is refused', bytes: get('X'), gives: [400] },
  { says: '5: a field without name is refused', bytes: get(': b'), gives: [400] },
  { says: '5: a name that is no token is refused', bytes: get('X(y): b'), gives: [400] },
  { says: '5: a name beyond ASCII is refused', bytes: get('\xe4: b'), gives: [400] },
  { says: '5.2: a folded line is refused', bytes: get('X: b', ' c'), gives: [400] },
  { says: '5.2: a line folded by a tab is refused', bytes: get('X: b', '\tc'), gives: [400] },
  { says: '5.5: a NUL in a value is refused', bytes: get('X: b\0c'), gives: [400] },
  { says: '5.5: another control character in a value is refused', bytes: get('X: b\x01c'), gives: [400] },
  { says: '5.5: a DEL in a value is refused', bytes: get('X: b\x7fc'), gives: [400] },
  { says: '5.5: a value beyond ASCII is taken as it is', bytes: get('X: \xe4'), gives: ['GET /x'] },
  { says: '5.4: a head over its limit is refused', bytes: get(`X: ${'a'.repeat(20_000)}`), gives: [431] },
  {
    says: '5.4: a head that never ends is refused at its limit',
    bytes: `GET /x HTTP/1.1\r\nX: ${'a'.repeat(20_000)}`,
    gives: [431],
  },
  { says: '5.4: too many fields are refused', bytes: get(...Array<string>(101).fill('X: y')), gives: [431] },
  // 6: the framing of bodies
  { says: '6.3: a request without length and coding has no body', bytes: post() + get(), gives: ['POST /x', 'GET /x'] },
  { says: '6.3: a GET may have a body', bytes: `${get('Content-Length: 2')}hi`, gives: ['GET /x hi'] },
  {
    says: '6.3: length and coding together are refused',
    bytes: post('Content-Length: 5', 'Transfer-Encoding: chunked') + HELLO,
    gives: [400],
  },
  {
    says: '6.3: coding and length together are refused',
    bytes: post('Transfer-Encoding: chunked', 'Content-Length: 15') + HELLO,
    gives: [400],
  },
  {
    says: '6.3: two lengths that differ are refused',
    bytes: `${post('Content-Length: 5', 'Content-Length: 6')}hello!`,
    gives: [400],
  },
  {
    says: '6.3: two lengths that are equal are refused',
    bytes: `${post('Content-Length: 5', 'Content-Length: 5')}hello`,
    gives: [400],
  },
  { says: '6.3: a list of equal lengths is refused', bytes: `${post('Content-Length: 5, 5')}hello`, gives: [400] },
  { says: '8.6.: a length with a sign is refused', bytes: `${post('Content-Length: +5')}hello`, gives: [400] },
  { says: '8.6.: a negative length is refused', bytes: `${post('Content-Length: -5')}hello`, gives: [400] },
  { says: '8.6.: a length in hexadecimal is refused', bytes: `${post('Content-Length: 0x5')}hello`, gives: [400] },
  { says: '8.6.: an empty length is refused', bytes: post('Content-Length:'), gives: [400] },
  { says: '8.6.: a length with a blank inside is refused', bytes: `${post('Content-Length: 5 5')}hello`, gives: [400] },
  {
    says: '5: a tab behind a value is taken, but not where it says how long the request is',
    bytes: get('X: y\t') + post('Content-Length: 5\t'),
    gives: ['GET /x', 400],
  },
  {
    says: '8.6.: a length with leading zeros is a length',
    bytes: `${post('Content-Length: 005')}hello`,
    gives: ['POST /x hello'],
  },
  {
    says: '8.6.: a length beyond 2^64 is refused, not wrapped',
    bytes: `${post('Content-Length: 18446744073709551621')}hello`,
    gives: [413],
  },
  {
    says: '6.1: a coding that nobody knows is refused',
    bytes: post('Transfer-Encoding: xchunked') + HELLO,
    gives: [400],
  },
  { says: '6.1: gzip below chunked is refused', bytes: post('Transfer-Encoding: gzip, chunked') + HELLO, gives: [400] },
  {
    says: '6.1: chunked that is not last is refused',
    bytes: post('Transfer-Encoding: chunked, identity') + HELLO,
    gives: [400],
  },
  { says: '6.1: chunked twice is refused', bytes: post('Transfer-Encoding: chunked, chunked') + HELLO, gives: [400] },
  {
    says: '6.1: two lines of codings are refused',
    bytes: post('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked') + HELLO,
    gives: [400],
  },
  { says: '6.1: an empty coding is refused', bytes: post('Transfer-Encoding:') + HELLO, gives: [400] },
  {
    says: '6.1: a coding in HTTP/1.0 is refused',
    bytes: `POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n${HELLO}`,
    gives: [400],
  },
  {
    says: '6.1: the name of the coding may be in capitals',
    bytes: post('Transfer-Encoding: CHUNKED') + HELLO,
    gives: ['POST /x hello'],
  },
  // 7: chunks
  {
    says: '7.1: chunks are put together',
    bytes: chunked('3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n') + get(),
    gives: ['POST /x hello', 'GET /x'],
  },
  {
    says: '7.1: sizes are hexadecimal, in either case',
    bytes: chunked(`A\r\n${'a'.repeat(10)}\r\nb\r\n${'b'.repeat(11)}\r\n0\r\n\r\n`),
    gives: [`POST /x ${'a'.repeat(10)}${'b'.repeat(11)}`],
  },
  {
    says: '7.1: sizes may have leading zeros',
    bytes: chunked('0005\r\nhello\r\n000\r\n\r\n'),
    gives: ['POST /x hello'],
  },
  { says: '7.1: no chunk but the last is no body', bytes: chunked('0\r\n\r\n'), gives: ['POST /x'] },
  { says: '7.1: a size that is no number is refused', bytes: chunked('5x\r\nhello\r\n0\r\n\r\n'), gives: [400] },
  { says: '7.1: a negative size is refused', bytes: chunked('-1\r\nhello\r\n0\r\n\r\n'), gives: [400] },
  { says: '7.1: a size with 0x is refused', bytes: chunked('0x5\r\nhello\r\n0\r\n\r\n'), gives: [400] },
  { says: '7.1: an empty size is refused', bytes: chunked('\r\nhello\r\n0\r\n\r\n'), gives: [400] },
  {
    says: '7.1: a size beyond all numbers is refused, not wrapped',
    bytes: chunked('10000000000000005\r\nhello\r\n0\r\n\r\n'),
    gives: [400],
  },
  { says: '7.1: a blank behind the size is refused', bytes: chunked('5 \r\nhello\r\n0\r\n\r\n'), gives: [400] },
  {
    says: '7.1: a size line may not end with a line feed alone',
    bytes: chunked('5\nhello\r\n0\r\n\r\n'),
    gives: [400],
  },
  { says: '7.1: a chunk longer than its size is refused', bytes: chunked('5\r\nhelloXX0\r\n\r\n'), gives: [400] },
  { says: '7.1: a chunk may not end with a line feed alone', bytes: chunked('5\r\nhello\n0\r\n\r\n'), gives: [400] },
  {
    says: '7.1.1: extensions are overlooked',
    bytes: chunked('5;a=b;c="d;\\"e";f\r\nhello\r\n0;g\r\n\r\n'),
    gives: ['POST /x hello'],
  },
  {
    says: '7.1.1: a line feed in an extension is refused',
    bytes: chunked('5;a\nb\r\nhello\r\n0\r\n\r\n'),
    gives: [400],
  },
  {
    says: '7.1.1: an extension without name is refused',
    bytes: chunked('5;\r\nhello\r\n0\r\n\r\n'),
    gives: [400],
  },
  {
    says: '7.1.1: one long extension is refused',
    bytes: chunked(`5;a=${'b'.repeat(2_000)}\r\nhello\r\n0\r\n\r\n`),
    gives: [413],
    laxElsewhere: 'node:http limits their sum',
  },
  {
    says: '7.1.1: many extensions are refused',
    bytes: chunked(`1;a=${'b'.repeat(900)}\r\nh\r\n`.repeat(30)),
    gives: [413],
    laxElsewhere: 'node:http limits their sum',
  },
  {
    says: '7.1.2: a trailer is dropped',
    bytes: chunked('5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n') + get(),
    gives: ['POST /x hello', 'GET /x'],
  },
  {
    says: '7.1.2: a trailer over its limit is refused',
    bytes: chunked(`0\r\nX-T: ${'a'.repeat(20_000)}\r\n\r\n`),
    gives: [431],
  },
  {
    says: '7.1.2: a trailer that never ends is refused at its limit',
    bytes: chunked(`0\r\n${'X: y\r\n'.repeat(4_000)}`),
    gives: [431],
    laxElsewhere: 'counts names and values alone',
  },
  { says: '7.1.2: a trailer that is no field is refused', bytes: chunked('0\r\nno field\r\n\r\n'), gives: [400] },
  {
    says: '6.5.1.: a length in a trailer is refused',
    bytes: chunked('5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n'),
    gives: [400],
  },
  {
    says: '6.5.1.: a Host in a trailer is refused',
    bytes: chunked('5\r\nhello\r\n0\r\nHost: b\r\n\r\n'),
    gives: [400],
    laxElsewhere: 'drops it as any other',
  },
  { says: '7.1.2: a line feed alone ends no trailer', bytes: chunked('0\r\nX-T: 1\n\r\n'), gives: [400] },
  // 9: connections
  { says: '9.3: HTTP/1.1 keeps the connection', bytes: get() + get(), gives: ['GET /x', 'GET /x'] },
  {
    says: '9.6: nothing is read behind Connection: close',
    bytes: get('Connection: close') + get(),
    gives: ['GET /x (close)'],
  },
  { says: '9.6: close is found among other options', bytes: get('Connection: TE , CLOSE'), gives: ['GET /x (close)'] },
  { says: '9.6: close wins over keep-alive', bytes: get('Connection: keep-alive, close'), gives: ['GET /x (close)'] },
  { says: '9.3: HTTP/1.0 closes the connection', bytes: 'GET /x HTTP/1.0\r\n\r\n', gives: ['GET /x (close)'] },
  {
    says: '9.3: HTTP/1.0 keeps it when asked to',
    bytes: 'GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
    gives: ['GET /x'],
  },
  {
    says: '9.3: what looks like a blank around keep-alive is none',
    bytes: 'GET /x HTTP/1.0\r\nConnection: \xa0keep-alive\r\n\r\n',
    gives: ['GET /x (close)'],
  },
  {
    says: '9.3.2: requests may follow one another unasked',
    bytes: sized('1') + sized('2') + sized('3'),
    gives: ['POST /x 1', 'POST /x 2', 'POST /x 3'],
  },
  {
    says: '9.3.2: a bad request behind a good one is refused alone',
    bytes: `${sized('1')}BROKEN\r\n\r\n`,
    gives: ['POST /x 1', 400],
  },
  {
    says: '7.8.: a wish to upgrade is overlooked',
    bytes: get('Connection: Upgrade', 'Upgrade: h2c') + sized('hi'),
    gives: ['GET /x', 'POST /x hi'],
  },
  {
    says: '7.8.: also where the request has a body',
    bytes: sized('hello', 'Connection: Upgrade', 'Upgrade: h2c') + sized('hi'),
    gives: ['POST /x hello', 'POST /x hi'],
  },
  { says: '10.1.1.: 100-continue can be expected', bytes: sized('hi', 'Expect: 100-Continue'), gives: ['POST /x hi'] },
  { says: '10.1.1.: nothing else can', bytes: sized('hi', 'Expect: tea'), gives: [417] },
  {
    says: '10.1.1.: HTTP/1.0 can expect nothing, which is overlooked',
    bytes: 'GET /x HTTP/1.0\r\nExpect: tea\r\n\r\n',
    gives: ['GET /x (close)'],
  },
]
