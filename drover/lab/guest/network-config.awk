# cloud-init network-config version 2 -> one line an interface: MAC ADDRESS/PREFIX GATEWAY MTU DNS,DNS ("-" = not given).
#
# Reads block YAML, flow YAML and JSON alike, because it only looks at the order of words: `macaddress` opens an
# interface, so `match` has to stand first in it, as cloud-init's own examples have it.
function flush_interface() {
    if (mac != "") print mac, address, gateway, mtu, dns
    address = gateway = mtu = dns = "-"
}
BEGIN { flush_interface() }
{
    sub(/#.*/, "")
    gsub(/":/, ": ")
    gsub(/[]["'{},]/, " ")
    for (i = 1; i <= NF; i++) {
        if ($i ~ /:$/) { key = $i; continue }
        if ($i == "-") continue
        if (key == "macaddress:") { flush_interface(); mac = tolower($i) }
        else if (key == "addresses:" && $i ~ /\//) { if (address == "-") address = $i }
        else if (key == "addresses:") dns = (dns == "-") ? $i : dns "," $i
        else if (key == "via:" || key == "gateway4:") { if (gateway == "-") gateway = $i }
        else if (key == "mtu:") mtu = $i
    }
}
END { flush_interface() }
