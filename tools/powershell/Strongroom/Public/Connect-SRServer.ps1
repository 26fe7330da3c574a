function Connect-SRServer {
    <#
    .SYNOPSIS
        Signs in to a Strongroom server.

    .DESCRIPTION
        Exchanges a name and a password for an access token, which the module keeps as a SecureString until
        Disconnect-SRServer, another Connect-SRServer or the end of the session. The connection is always https.

    .PARAMETER Server
        Name or address of the server.

    .PARAMETER Port
        Port of its REST API.

    .PARAMETER Credential
        User name and password.

    .PARAMETER CertificateAuthority
        PEM file of the authority that signed the server's certificate; nothing else is trusted then.
        `strongroom up` writes it to ca/ca.pem in its data folder.

    .PARAMETER SkipCertificateCheck
        Trusts any certificate. Whoever is between you and the server can then read your password.

    .EXAMPLE
        Connect-SRServer -Server backup.example.com -Credential (Get-Credential)

        Signs in to a server whose certificate the machine trusts.

    .EXAMPLE
        Connect-SRServer -Server localhost -Credential admin -CertificateAuthority ./data/ca/ca.pem

        Signs in to the installation of `strongroom up --data-dir data`.

    .OUTPUTS
        Strongroom.Connection
    #>
    [CmdletBinding(DefaultParameterSetName = 'Trusted')]
    [OutputType('Strongroom.Connection')]
    param(
        [Parameter(Mandatory, Position = 0)]
        [ValidateNotNullOrEmpty()]
        [string] $Server,

        [ValidateRange(1, 65535)]
        [int] $Port = 8443,

        [Parameter(Mandatory)]
        [System.Management.Automation.PSCredential]
        [System.Management.Automation.Credential()]
        $Credential,

        [Parameter(ParameterSetName = 'Authority', Mandatory)]
        [ValidateScript({ Test-Path -LiteralPath $_ -PathType Leaf })]
        [string] $CertificateAuthority,

        [Parameter(ParameterSetName = 'Unchecked', Mandatory)]
        [switch] $SkipCertificateCheck
    )

    $trust = @{ SkipCertificateCheck = $SkipCertificateCheck }
    if ($CertificateAuthority) {
        $trust['CertificateAuthority'] = (Resolve-Path -LiteralPath $CertificateAuthority).ProviderPath
    }
    if ($SkipCertificateCheck) {
        Write-Warning 'The certificate of the server is not checked.'
    }
    $base = [System.UriBuilder]::new('https', $Server, $Port, '/api/v1').Uri.AbsoluteUri
    $connection = [pscustomobject]@{
        PSTypeName = 'Strongroom.Connection'
        Server     = $Server
        Port       = $Port
        User       = $Credential.UserName
        BaseUri    = $base
        Client     = New-SRClient @trust
        Token      = $null
    }
    try {
        $form = @{
            grant_type = 'password'
            username   = $Credential.UserName
            password   = $Credential.GetNetworkCredential().Password
        }
        $answer = Invoke-SRRequest -Method Post -Path '/token' -Form $form -Connection $connection
    }
    catch {
        $connection.Client.Dispose()
        $PSCmdlet.ThrowTerminatingError($_)
    }
    $connection.Token = ConvertTo-SecureString -String $answer.access_token -AsPlainText -Force
    if ($null -ne $script:Connection) {
        Disconnect-SRServer -Confirm:$false
    }
    $script:Connection = $connection
    $connection | Select-Object -Property Server, Port, User
}
