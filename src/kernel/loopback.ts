/** Whether an address is this machine's; IPv4 also as IPv6 writes it: `::ffff:127.0.0.1`. @see RFC 6890, RFC 4291, 2.5.3 */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/i.test(address)
}
