function New-SRClient {
    <#
    .SYNOPSIS
        Makes the HTTP client of a connection; decides which certificates it trusts.
    #>
    [CmdletBinding()]
    [OutputType([System.Net.Http.HttpClient])]
    param(
        [string] $CertificateAuthority,

        [switch] $SkipCertificateCheck
    )

    if ($SkipCertificateCheck) {
        # A script block cannot be the callback (it would run without a runspace); this one is compiled.
        $handler = [System.Net.Http.HttpClientHandler]::new()
        $handler.ServerCertificateCustomValidationCallback =
            [System.Net.Http.HttpClientHandler]::DangerousAcceptAnyServerCertificateValidator
    }
    else {
        $handler = [System.Net.Http.SocketsHttpHandler]::new()
        if ($CertificateAuthority) {
            $policy = [System.Security.Cryptography.X509Certificates.X509ChainPolicy]::new()
            $policy.TrustMode = [System.Security.Cryptography.X509Certificates.X509ChainTrustMode]::CustomRootTrust
            $policy.RevocationMode = [System.Security.Cryptography.X509Certificates.X509RevocationMode]::NoCheck
            $policy.CustomTrustStore.ImportFromPemFile($CertificateAuthority)
            $handler.SslOptions.CertificateChainPolicy = $policy
        }
    }
    $handler.AllowAutoRedirect = $false
    $client = [System.Net.Http.HttpClient]::new($handler)
    $client.Timeout = [timespan]::FromSeconds(100)
    $client
}
