function Add-SRType {
    <#
    .SYNOPSIS
        Names the type of an answer, so that it has a table and pipes into the next command.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, ValueFromPipeline)]
        [psobject] $InputObject,

        [Parameter(Mandatory)]
        [string] $TypeName
    )

    process {
        $InputObject.PSObject.TypeNames.Insert(0, $TypeName)
        $InputObject
    }
}
